"""What reading a schema finds out about its keywords, noted as it goes."""

from __future__ import annotations

import msgspec

from .errors import GrammarError


class Refusal(msgspec.Struct, frozen=True):
    """A keyword that cannot be enforced exactly, so that the schema is refused; fields as in GrammarError."""

    where: str
    keyword: str
    reason: str
    rewrite: str


class Notes:
    """Collects what one reading finds. strict: the first refusal is raised; else all are kept, as if left out.

    has_document: there is a document for verbatim values to stand in. served: whether outputs are to be generated, and
    not only told of: without a document verbatim values are then refused. listing: whether somebody reads what becomes
    of each keyword, and which may be slips of the pen; else these are not noted.
    """

    def __init__(self, *, strict: bool, has_document: bool = False, served: bool = False, listing: bool = True) -> None:
        self.strict = strict
        self.listing = listing
        self.has_document = has_document
        self.served = served or strict
        self.enforced: dict[tuple[str, str], None] = {}
        self.ignored: dict[tuple[str, str], str] = {}
        self.refused: dict[tuple[str, str], Refusal] = {}
        self.refused_places: set[str] = set()
        self.warnings: dict[str, None] = {}

    def enforce(self, place: str, keyword: str) -> None:
        """The keyword at this place holds for every output."""
        self.enforced[place, keyword] = None

    def ignore(self, place: str, keyword: str, reason: str) -> None:
        """The keyword at this place asserts nothing."""
        self.ignored[place, keyword] = reason

    def warn(self, text: str) -> None:
        """Something that is probably not what was meant."""
        self.warnings[text] = None

    def refuse(self, place: str, keyword: str, reason: str, rewrite: str) -> None:
        """The keyword at this place cannot be enforced. Raises GrammarError when strict."""
        self.enforced.pop((place, keyword), None)
        self.refused_places.add(place)
        self.refused[place, keyword] = Refusal(place, keyword, reason, rewrite)
        if self.strict:
            raise GrammarError(place, keyword, reason, rewrite)

    def need_document(self, place: str, keyword: str) -> None:
        """A keyword that means something only together with a document. Refused without one, where it is served."""
        if self.served and not self.has_document:
            rewrite = "give the document beside the schema, or take verbatim out"
            self.refuse(place, keyword, "verbatim values need a document to stand in, and there is none", rewrite)
        elif not self.has_document:
            self.warn(f"{place}: verbatim needs a document with every request; any string is taken here")

    def refuse_error(self, error: GrammarError, place: str, keyword: str) -> None:
        """`refuse`, for a keyword whose own value was refused: the reason tells where in the value."""
        if error.where == place:
            self.refuse(place, keyword, error.reason, error.rewrite)
        else:
            self.refuse(place, keyword, f"{error.where}: {error.reason}", error.rewrite)
