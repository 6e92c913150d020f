"""Names for kinds of crime, in the IBRS codes of the Kansas City police (those of NIBRS)."""

import difflib
import re
from collections.abc import Sequence

from rtmkc.errors import InputError

#: Name of a kind of crime -> its IBRS codes. Rape is not among violence: its places are withheld.
OFFENCES: dict[str, tuple[str, ...]] = {
    "violence": ("09A", "13A", "120"),
    "homicide": ("09A",),
    "aggravated assault": ("13A",),
    "simple assault": ("13B",),
    "robbery": ("120",),
    "burglary": ("220",),
    "theft from vehicle": ("23F",),
    "vehicle theft": ("240",),
    "shoplifting": ("23C",),
    "arson": ("200",),
    "vandalism": ("290",),
    "drugs": ("35A",),
    "card fraud": ("26B",),
}
_SHOOTINGS = re.compile(r"shoot|gun|firearm")
_CODE = re.compile(r"\d{2}[0-9A-Z]")


def resolve_codes(ibrs: str | Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the IBRS codes that each code or name asks for.

    Parameters
    ----------
    ibrs : str or list of str
        Codes such as "13A", names such as "violence", or both.

    Raises
    ------
    InputError
        If nothing is named, a word is neither a code nor a known name, or it asks for shootings.

    Examples
    --------
    >>> resolve_codes("violence")
    {'violence': ('09A', '13A', '120')}
    >>> resolve_codes(["13a", "Robbery"])
    {'13A': ('13A',), 'robbery': ('120',)}
    """
    words = [ibrs] if isinstance(ibrs, str) else list(ibrs)
    if not words:
        raise InputError("Invalid ibrs []. Name at least one code, as in ibrs=['13A', '120'].")
    found: dict[str, tuple[str, ...]] = {}
    for word in words:
        text = " ".join(str(word).replace("_", " ").lower().split())
        if _CODE.fullmatch(text.upper()):
            found[text.upper()] = (text.upper(),)
        elif text in OFFENCES:
            found[text] = OFFENCES[text]
        elif _SHOOTINGS.search(text):
            raise InputError(
                f"Invalid ibrs {word!r}. Shootings cannot be told from IBRS codes: they stand among homicides "
                "(09A) and aggravated assaults (13A) of every kind. Ask for ibrs=['09A', '13A'] with "
                "firearm=True, which also holds those where a firearm was shown and not fired."
            )
        else:
            close = difflib.get_close_matches(text, OFFENCES, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise InputError(
                f"Invalid ibrs {word!r}. It is neither a code of three characters, such as '13A', nor one of: "
                f"{', '.join(OFFENCES)}.{hint}"
            )
    return found
