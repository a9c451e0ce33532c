# ruff: noqa: E501  # a pattern is easier to read in long lines
"""What the words of a DICOM header say of a series, in the languages of Europe: contrast, part, kernel."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["body_part", "contrast", "is_bone_kernel", "is_scout", "public_words"]

_NOT = r"(?:without|w ?/? ?o\b|no|non|sans|ohne|o\.|sin|sem|senza|zonder|uten|utan|uden|bez|ilman|pre|before|prior to|vor)"
_AGENT = (
    r"(?:(?:i\.?v\.?|intravenous|intraven\w*|the)\W*)?"
    r"(?:contr\w*|kontr\w*|contst\w*|con\b|c\b|ce\b|km\b|k\b|cm\b|mdc\b|mdk\b|iv\b|i\.v|inj\w*|iny\w*|iniez\w*|dye|"
    r"enhanc\w*|gad\w*|iodine)"
)
#: Said of a scan without contrast agent; looked for first, since it names the agent as well.
WITHOUT = re.compile(
    rf"\b{_NOT}\W*{_AGENT}|\bw ?/ ?o\b|\bwo\b|\bw o\b|\bun-?enhanced\b|\bnon?\W?(?:con|enh|ce)\w*|\bnativ\w*|"
    r"\bn\.?c\.?c?\.?t\b|\bnect\b|\bnc\b|\bplain\b|\bsimple\b|\bleer\b|(?:^|\s)-\s?c\b|\bc\s?-(?=\s|$)|\biv\s?-(?=\s|$)|"
    r"без контр|без к/у|натив|平扫|单纯|単純"
)
#: Said of a scan with contrast agent.
WITH = re.compile(
    rf"(?:\bwith|\bw ?/|\bmit|\bavec|\bcon|\bcom|\bmet|\bmed|\bs|\bpo|\bafter|\bpost|\bnach)\W*{_AGENT}|"
    r"\bc\s?\+|\+\s?(?:c|ce|km|k|iv|contr\w*)\b|\biv\s?\+|\bcect\b|\bce\b|\bcm\b(?<!\d cm)|\bkm\b|\bkm\+|\bmdc\b|\bmdk\b|"
    r"\bcontr(?:ast\w*|\.)|\bkontrast\w*|\bpost\W?(?:contr|kontr|gad|inj|iv|km)\w*|"
    r"(?<!un)(?<!un-)\benhanced\b|\binjec\w*|\binjekt\w*|\bven(?:o|oe|e)s\w*|\bvenous\b|\bvein\w*|\barter\w*\W*(?:phase|ph\b|fase)|"
    r"\barteriell\w*|\bw\b/?$|\bw/|\bw ?\+|\bw iv\b|\bwith$|\bgad\w*|с контр|контраст|增强|造影"
)
#: Pictures of vessels or of blood flow, and maps computed from several energies: none shows HU of plain tissue.
OTHER_KIND = re.compile(
    r"\bct ?-?a\b|\bct ?-?v\b|\bcta\w*|\bctv\b|\bctp\b|angio(?!\s*suite|m)|\bwillis\b|\bcow\b|\bcarot\w*|"
    r"\bmip\w*|\bperf\w*|\br?cb[fv]\b|\bttp\b|\bttd\b|\bmtt\b|\bt ?-?max\b|\btdc\b|transit|blood (?:flow|vol)|\btmax\w*|\bv?pct\b|\b4 ?d\b|\bdyn\w*|\bpenumbra\b|"
    r"\biod\w*|\bjod\w*|\byod\w*|\bmono\w*\b.*\bkev\b|\bkev\b|\bmono ?(?:energetic|e|plus)?\b\W*\d|\bvnc\b|\bvirtual\b|"
    r"\bz ?-?eff\w*|\beffective z\b|\brho ?/? ?z\b|\bbone ?removal\b|\bsubtract\w*|\bdelay map\b|\bpbv\b|\bpermeab\w*"
)
SCOUT = re.compile(
    r"localizer|localiser|scout|topogram|surview|scanogram|scano\b|pilot|dose (?:report|info)|patient protocol"
)
BONE = re.compile(
    r"\bbones?\b(?! ?-?(?:removal|suppress\w*))|\bknochen\w*|\bosseux|\bosseo|\bosso\b|\bbot\b|\bhueso|\bkost|\bbein\b|костн"
)
#: GE and words; Canon's FC30, FC50 and FC80 (FC20, FC40 and FC60 are of heads); Siemens from 60 on of any family;
#: Philips.
BONE_KERNEL = re.compile(
    r"^(?:bone|edge|lung|sharp|ultra|chest)|^fc[358]\d|^(?!fc)[a-z]{1,2}[6-9]\d|^(?:d|e|l|yc|yd|ye)$"
)
HEAD = re.compile(
    r"head|brain|skull|\bcran|kopf|schadel|schaedel|\bhirn|\btete|cerebr|neuro|enceph|encef|testa|cabe[cz]a|hoofd|hersen|"
    r"golov|glow|\bcaput|\bhode|\bhuvud|\bhjern|\bhjarn|stroke|schlaganfall|\bictus|\bavc\b|голов|мозг|череп|头|颅|脑|頭"
)
#: Parts that a head CT is mistaken for when a whole protocol is marked HEAD; those of the head's own do not show all of it.
OTHER_PART = re.compile(
    r"spine|\bc-? ?sp|\bcspine|\bt-? ?spine|\bl-? ?spine|cervic|\bhws\b|\bbws\b|\blws\b|\bwk\b|wirbel|rachis|colonna|columna|"
    r"thorax|thorac|torax|torace|chest|lung|pulm|abd|pelv|becken|liver|leber|heart|herz|cardi|coron\w* art|knee|knie|hip\b|"
    r"foot|fuss|ankle|hand\b|wrist|elbow|shoulder|schulter|extrem|\bleg\b|\barm\b|aorta|colon|renal|kidney"
)
PART_OF_HEAD = re.compile(
    r"\bneck|\bhals\b|\bface\b|facial|\bgesicht|mandib|maxill|dental|\bteeth|sinus|\bnnh\b|orbit|\biac\b|temporal b|petrous|"
    r"felsenbein|mastoid|\binner ear|\binnenohr|sella|pituit|hypophys|larynx|pharynx"
)


def fold(text: object) -> str:
    """Lower case without accents; underscores and carets are spaces."""
    plain = unicodedata.normalize("NFKD", str(text or ""))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return re.sub(r"[_^\s]+", " ", plain.lower()).strip()


def contrast(text: object) -> str:
    """`without`, `with` or `other` (vessels, perfusion, maps) by what a description says; else empty."""
    words = fold(text)
    if WITHOUT.search(words) and not re.search(r"\bvnc\b|\bvirtual\b", words):
        return "without"
    if OTHER_KIND.search(words):
        return "other"
    return "with" if WITH.search(words) else ""


def is_scout(text: object) -> bool:
    """Whether a description names a scout view or a page about the dose."""
    return bool(SCOUT.search(fold(text)))


def is_bone_kernel(kernels: list[str], description: object) -> bool:
    """Whether a series was reconstructed for bone."""
    return any(BONE_KERNEL.search(fold(kernel)) for kernel in kernels) or bool(BONE.search(fold(description)))


def body_part(text: object) -> str:
    """`head`, `part` (of the head or the neck), `other`, or empty where nothing is said."""
    words = fold(text)
    if HEAD.search(words):
        return "part" if OTHER_PART.search(words) else "head"
    return "other" if OTHER_PART.search(words) else "part" if PART_OF_HEAD.search(words) else ""


#: Words of descriptions that name no person, besides those above: planes, filters, thickness, habits.
COMMON = re.compile(
    r"^(?:[a-z]{1,2}\d{2}[a-z]?|fc\d{2}|\d{1,3}(?:[.,]\d{1,2})?(?:mm|hu|kv|kev)?|mm|ct|cct|ax|axial\w*|tra|cor|coronal\w*|"
    r"sag|sagit\w*|mpr|vrt|std|stnd|standard|soft|smooth|st|thin|thick|routine|rutina|seq\w*|spiral|helical|vol\w*|recon\w*|"
    r"asir|adm\w*|imar|mar|series|base|basis|vault|vertex|trauma|post|pre|op|and|und|of|no|without|with|w|wo|o|c|iv|"
    r"ohne|mit|sin|con|sans|avec|senza|zonder|fossa|posterior|tissue|parenchyma|window|control|follow|up|portable)$"
)


def public_words(text: object) -> str:
    """The words of a description that are known to name no person; each run of others is an ellipsis.

    Technicians write names, numbers and dates into descriptions, so only what is on a list is shown.
    """
    known = (HEAD, OTHER_PART, PART_OF_HEAD, WITHOUT, WITH, OTHER_KIND, SCOUT, BONE, BONE_KERNEL, COMMON)
    shown: list[str] = []
    for word in str(text or "").replace("_", " ").replace("^", " ").split():
        parts = [part for part in re.split(r"[^\w.,+]+", fold(word)) if part]
        if parts and all(any(p.fullmatch(part) for p in known) or COMMON.match(part) for part in parts):
            shown.append(word)
        elif not shown or shown[-1] != "…":
            shown.append("…")
    return "" if shown == ["…"] else " ".join(shown)
