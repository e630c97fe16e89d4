"""The one exception for mistakes that a user can put right."""


class H36MError(Exception):
    """Bad data or a bad request; the message says what was found, what was needed and what to do.

    The command line turns it into one clean line and exit status 1.
    """
