"""What can be downloaded, from where: the official archives and the files that other authors publish for Human3.6M.

Addresses of the official site: download_all.py of h36m-fetch (https://github.com/anibali/h36m-fetch), which lists all
kinds but the masks; theirs is in dataset_preparation/get_h36m.sh of https://github.com/isarandi/metrabs. Those scripts
say http and do not verify; here it is https, as the site's own login, and verified: the session cookie is a key.
Checksums: the public list of h36m-fetch (checksums.txt, 35 lines). Videos_S11.tgz has two: the site repaired
S11/Videos/Directions.54138969.mp4 in 2020, 25c2... is the archive since then
(https://github.com/CHUNYUWANG/H36M-Toolbox/issues/2). For masks none is published.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from h36m_toolbox.errors import H36MError
from h36m_toolbox.raw.archive import POSE_KINDS, Kind
from h36m_toolbox.sequences import SUBJECTS

OFFICIAL_SITE = "https://vision.imar.ro/human3.6m/filebrowser.php"

_SITE_NUMBERS = {"S1": 1, "S5": 6, "S6": 7, "S7": 2, "S8": 3, "S9": 4, "S11": 5}
_SITE_FOLDERS = {
    **{kind: f"Poses/{kind.value}" for kind in POSE_KINDS},
    Kind.VIDEO: "Videos",
    Kind.MASK: "Segments/mat_gt_bb",
}
_MD5S: dict[Kind, dict[str, tuple[str, ...]]] = {
    Kind.IMAGE: {
        "S1": ("69e038858ace96ba5f6c5ccea52e95e8",),
        "S5": ("7ac8c4830468a1ed3464076ee9603632",),
        "S6": ("5f9706d5259f648cca802c069dec9681",),
        "S7": ("543c4053c962db54d1d7361d4accffb4",),
        "S8": ("e9de190d782452edc954ac191907adcf",),
        "S9": ("232c2244afae96cb900908c6825d478c",),
        "S11": ("df1fde6b5656729336f54dcd79ab6e47",),
    },
    Kind.WORLD: {
        "S1": ("d4ae2827d0227dea8c88e6a082763d0a",),
        "S5": ("7a0bd0f458612decc9de0a04e0b589cc",),
        "S6": ("0970a30cbc947c3c0454c834db9b84e0",),
        "S7": ("abeea2a40650517cefb7cd911caa6472",),
        "S8": ("5695796fe478579ffe9b9ff09203dd27",),
        "S9": ("fce28bb66bf9908016e2d9738e5cb2db",),
        "S11": ("729e93d4e50c806f4a55fd1b87e2ff52",),
    },
    Kind.CAMERA: {
        "S1": ("4c844740ba583517c74b6c496c190761",),
        "S5": ("4e14165ed00b7aff1111a81c1ca4b7b3",),
        "S6": ("9681696b33a0d487493330e825b408d6",),
        "S7": ("807109c1a304ce67c6f0cc06a94846fc",),
        "S8": ("da8b6c948e7dcd280061cd4d99d7352f",),
        "S9": ("0fad285a69fdcdf4958cc4c80d93abbc",),
        "S11": ("944a8bca62a933f5d630a835868fba23",),
    },
    Kind.UNIVERSAL: {
        "S1": ("3c75f06fdf3c4f3b8fb1f8f11d18a10e",),
        "S5": ("a0c821f5501fcc450e28c38e5ebd0c17",),
        "S6": ("dce0fb2f44b487b2bd36f603d1ff894a",),
        "S7": ("848717a95a96336ec7707b20ec463965",),
        "S8": ("8f5182924c29721d9c4227aa43e3d7b3",),
        "S9": ("bbc436bc0f35bd09e272ad0ed1f188e2",),
        "S11": ("c00b5b22ed1b88de5a536433e300503e",),
    },
    Kind.VIDEO: {
        "S1": ("d517e6c0b1112427b2a39fcbd732281c",),
        "S5": ("02ef041813c3a37b137f86df24419e5a",),
        "S6": ("a4b8690e5320c5854f99f60bf31cbabc",),
        "S7": ("79caf93c6ec31b1c14cd1d31d5f292e0",),
        "S8": ("18818148e68fcd80fce1efa82f98126d",),
        "S9": ("3e7d923d5c573ac833334a31b5f8a797",),
        "S11": ("25c25250be8f75d7991dcbf74bb9d339", "13a24f30eb4e7cc505cbf80410c90ffe"),
    },
}


@dataclass(frozen=True)
class OfficialArchive:
    """One archive of the official site; downloading it takes an account there."""

    kind: Kind
    subject: str

    @property
    def file_name(self) -> str:
        """What h36m-fetch and H36M-Toolbox call it: Poses_D3_Positions_S1.tgz."""
        return f"{self.kind.archive_name}_{self.subject}.tgz"

    @property
    def url(self) -> str:
        """Where the site serves it, under a name of its own: SubjectSpecific_1.tgz."""
        name = f"SubjectSpecific_{_SITE_NUMBERS[self.subject]}.tgz"
        query = {"download": 1, "filepath": _SITE_FOLDERS[self.kind], "filename": name}
        return f"{OFFICIAL_SITE}?{urlencode(query, safe='/')}"

    @property
    def md5s(self) -> tuple[str, ...]:
        """Public checksums, any of which is right; () where none is published."""
        return _MD5S.get(self.kind, {}).get(self.subject, ())


def official_archives(
    kinds: Iterable[Kind] = (*POSE_KINDS, Kind.VIDEO), subjects: Iterable[str] = SUBJECTS
) -> list[OfficialArchive]:
    """Archives of these kinds and subjects, kind after kind; H36MError for a subject without public poses."""
    chosen = tuple(subjects)
    for subject in chosen:
        if subject not in SUBJECTS:
            raise H36MError(f"{subject}: no subject with public poses; there are {', '.join(SUBJECTS)}")
    return [OfficialArchive(kind, subject) for kind in kinds for subject in chosen]


@dataclass(frozen=True)
class ThirdPartyFile:
    """A file that other authors publish; nothing of it is shipped here."""

    name: str  # ours, for `h36m download`
    file_name: str
    what: str
    url: str  # the file's own address if `direct`, else a page to open in a browser
    direct: bool
    licence: str
    source: str  # where the authors give the address
    size: int | None = None  # bytes; None: nowhere published
    sha256: str = ""  # "": nowhere published


_VIDEOPOSE3D = "https://github.com/facebookresearch/VideoPose3D/blob/main/DATASETS.md"
_VIDEOPOSE3D_LICENCE = "CC BY-NC 4.0 (VideoPose3D's LICENSE)"
_SEMGCN = "https://github.com/garyzhao/SemGCN#evaluating-our-pretrained-models"
_SEMGCN_FOLDER = "https://drive.google.com/drive/folders/1c7Iz6Tt7qbaw0c1snKgcGOD-JGSzuZ4X"
_SEMGCN_LICENCE = "not stated in the authors' README; ask them before you pass the file on"

THIRD_PARTY_FILES = {
    file.name: file
    for file in (
        ThirdPartyFile(
            "cpn",
            "data_2d_h36m_cpn_ft_h36m_dbb.npz",
            "2D detections by CPN fine-tuned on Human3.6M, boxes by Mask R-CNN; 17 joints, px (Pavllo et al. 2019)",
            "https://dl.fbaipublicfiles.com/video-pose-3d/data_2d_h36m_cpn_ft_h36m_dbb.npz",
            True,
            _VIDEOPOSE3D_LICENCE,
            _VIDEOPOSE3D,
        ),
        ThirdPartyFile(
            "detectron",
            "data_2d_h36m_detectron_ft_h36m.npz",
            "2D detections by Mask R-CNN fine-tuned on Human3.6M; 17 joints, px (Pavllo et al. 2019)",
            "https://dl.fbaipublicfiles.com/video-pose-3d/data_2d_h36m_detectron_ft_h36m.npz",
            True,
            _VIDEOPOSE3D_LICENCE,
            _VIDEOPOSE3D,
        ),
        ThirdPartyFile(
            "sh",
            "stacked_hourglass_fined_tuned_240.tar.gz",
            "2D detections by a stacked hourglass fine-tuned on Human3.6M; 16 joints, px (Martinez et al. 2017)",
            "https://drive.google.com/open?id=0BxWzojlLp259S2FuUXJ6aUNxZkE",
            False,
            "MIT for 3d-pose-baseline's code; nothing said of the detections",
            _VIDEOPOSE3D,
        ),
        ThirdPartyFile(
            "semgcn",
            "ckpt_semgcn.pth.tar",
            "weights of SemGCN, ground-truth 2D input (Zhao et al. 2019)",
            _SEMGCN_FOLDER,
            False,
            _SEMGCN_LICENCE,
            _SEMGCN,
        ),
        ThirdPartyFile(
            "semgcn-nonlocal",
            "ckpt_semgcn_nonlocal.pth.tar",
            "weights of SemGCN with non-local blocks, ground-truth 2D input (Zhao et al. 2019)",
            _SEMGCN_FOLDER,
            False,
            _SEMGCN_LICENCE,
            _SEMGCN,
        ),
        ThirdPartyFile(
            "martinez",
            "ckpt_linear.pth.tar",
            "weights of the linear model of Martinez et al. 2017 as trained by SemGCN's authors, ground-truth 2D input",
            _SEMGCN_FOLDER,
            False,
            _SEMGCN_LICENCE,
            _SEMGCN,
        ),
    )
}


def third_party_file(name: str) -> ThirdPartyFile:
    """One of THIRD_PARTY_FILES by name; H36MError lists what the index has."""
    if name not in THIRD_PARTY_FILES:
        raise H36MError(f"{name}: not in the index; there are {', '.join((*OFFICIAL_GROUPS, *THIRD_PARTY_FILES))}")
    return THIRD_PARTY_FILES[name]


OFFICIAL_GROUPS = {
    "poses": POSE_KINDS,
    "videos": (Kind.VIDEO,),
    "masks": (Kind.MASK,),
    **{kind.archive_name: (kind,) for kind in (*POSE_KINDS, Kind.VIDEO, Kind.MASK)},
}


@dataclass(frozen=True)
class Download:
    """One file to fetch and what it must be."""

    file_name: str
    url: str
    official: bool  # needs the session cookie, which no other address may see
    sha256: str = ""
    md5s: tuple[str, ...] = ()
    size: int | None = None  # bytes


def requested(names: Iterable[str], subjects: Iterable[str] | None = None) -> list[Download]:
    """What names of OFFICIAL_GROUPS (of these subjects; None: all seven) and of THIRD_PARTY_FILES stand for, in order.

    Raises H36MError for a name that is neither, and for a file that its authors' host gives to browsers only.
    """
    downloads: dict[str, Download] = {}
    chosen = SUBJECTS if subjects is None else tuple(subjects)
    for name in names:
        if name in OFFICIAL_GROUPS:
            for archive in official_archives(OFFICIAL_GROUPS[name], chosen):
                downloads[archive.file_name] = Download(archive.file_name, archive.url, True, md5s=archive.md5s)
            continue
        file = third_party_file(name)
        if not file.direct:
            raise H36MError(f"{name}: for browsers only; open {file.url} and save {file.file_name} from there")
        downloads[file.file_name] = Download(file.file_name, file.url, False, file.sha256, size=file.size)
    return list(downloads.values())


def index_table() -> str:
    """Every name that `requested` knows, with what it is, its licence and its address, as text."""
    lines = [
        "Official archives, with your own account at https://vision.imar.ro/human3.6m/ (its licence: eula.php there)"
    ]
    for name, kinds in OFFICIAL_GROUPS.items():
        files = ", ".join(OfficialArchive(kind, "S1").file_name for kind in kinds)
        checked = (
            "md5 published" if all(OfficialArchive(kind, "S1").md5s for kind in kinds) else "no checksum published"
        )
        lines.append(f"  {name}: {files}, ...; {checked}")
    lines.append("Files of other authors")
    for file in THIRD_PARTY_FILES.values():
        way = "" if file.direct else " (browser only)"
        checked = "sha256 known" if file.sha256 else "no checksum published"
        lines += [
            f"  {file.name}: {file.file_name}{way}; {checked}",
            f"    {file.what}",
            f"    licence: {file.licence}",
            f"    {file.url}, given in {file.source}",
        ]
    return "\n".join(lines)
