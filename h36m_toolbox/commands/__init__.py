"""One module a command of `h36m`: it parses, calls the library, prints."""
