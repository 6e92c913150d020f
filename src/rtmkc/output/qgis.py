"""Styles that QGIS applies by itself when a layer of the GeoPackage is opened."""

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as xml

from rtmkc.output.classes import BLOCK_LABELS, BREAKS, COLOURS, CORRIDOR, INK, LABELS, STOP, TREATED

RISK_COLUMN = "relative"
ZONES = {"treated": "treated zone", "ring": "ring, where displacement is looked for"}


def risk_style() -> str:
    """Return the QML of the risk cells: the classes and colours of the risk map."""
    root = _root()
    symbols = _classes(root, RISK_COLUMN, LABELS)
    for number, colour in enumerate(COLOURS):
        _fill(symbols, str(number), colour, opacity=0.75)
    return _text(root)


def blocks_style() -> str:
    """Return the QML of the blocks of corridors: the classes of the risk map, as multiples of the typical street."""
    root = _root()
    symbols = _classes(root, "city_multiple", BLOCK_LABELS)
    for number, colour in enumerate(COLOURS):
        _symbol(symbols, "line", str(number), "SimpleLine", _line(colour, 1.6))
    return _text(root)


def stops_style() -> str:
    """Return the QML of the places to visit: points with their number in the round."""
    root = _root()
    properties = {
        "name": "circle", "color": _rgba(STOP), "outline_color": "255,255,255,255", "outline_width": "0.2",
        "outline_width_unit": "MM", "size": "2.4", "size_unit": "MM",
    }  # fmt: skip
    _symbol(_single(root), "marker", "0", "SimpleMarker", properties)
    _label(root, "seq", placement="0")
    return _text(root)


def zones_style() -> str:
    """Return the QML of zones: the treated one tinted, the ring an outline in dashes."""
    root = _root()
    renderer = xml.SubElement(
        root, "renderer-v2", type="categorizedSymbol", attr="zone", symbollevels="0", enableorderby="0",
        forceraster="0",
    )  # fmt: skip
    categories = xml.SubElement(renderer, "categories")
    for number, (zone, label) in enumerate(ZONES.items()):
        xml.SubElement(
            categories, "category", value=zone, symbol=str(number), label=label, render="true", type="string"
        )
    symbols = xml.SubElement(renderer, "symbols")
    _fill(symbols, "0", CORRIDOR, opacity=0.25)
    ring = {
        "style": "no", "outline_style": "dash", "outline_color": _rgba(CORRIDOR), "outline_width": "0.4",
        "outline_width_unit": "MM",
    }  # fmt: skip
    _symbol(symbols, "fill", "1", "SimpleFill", ring)
    return _text(root)


def outline_style(colour: str = INK, width: float = 0.5) -> str:
    """Return the QML of polygons drawn as an outline; width in millimetres."""
    root = _root()
    _outline(_single(root), colour, width)
    return _text(root)


def line_style(colour: str, width: float, *, dashed: bool = False, label: str | None = None) -> str:
    """Return the QML of lines, labelled by a column where there is one; width in millimetres."""
    root = _root()
    _symbol(_single(root), "line", "0", "SimpleLine", _line(colour, width, dashed=dashed))
    if label:
        _label(root, label, placement="2")
    return _text(root)


def layer_styles() -> dict[str, str]:
    """Return the style of every layer of the GeoPackage that has one."""
    return {
        "risk": risk_style(),
        "hotspots": outline_style(INK, 0.5),
        "hotspot_areas": outline_style(INK, 0.9),
        "zones": zones_style(),
        "corridor_blocks": blocks_style(),
        "corridors": line_style(CORRIDOR, 1.2, label="rank"),
        "stops": stops_style(),
        "treated": line_style(TREATED, 0.8, dashed=True),
        "study_area": outline_style("#52606d", 0.4),
    }


def _classes(root: xml.Element, column: str, labels: Sequence[str]) -> xml.Element:
    """Add the classes of the risk map by a column, and return where their symbols go."""
    renderer = xml.SubElement(
        root, "renderer-v2", type="graduatedSymbol", attr=column, graduatedMethod="GraduatedColor",
        symbollevels="0", enableorderby="0", forceraster="0",
    )  # fmt: skip
    ranges = xml.SubElement(renderer, "ranges")
    edges = (0.0, *BREAKS, 1e9)
    for number, label in enumerate(labels):
        xml.SubElement(
            ranges, "range", symbol=str(number), label=label, render="true",
            lower=f"{edges[number]:.6f}", upper=f"{edges[number + 1]:.6f}",
        )  # fmt: skip
    return xml.SubElement(renderer, "symbols")


def _line(colour: str, width: float, *, dashed: bool = False) -> dict[str, str]:
    return {
        "line_color": _rgba(colour),
        "line_width": f"{width:g}",
        "line_width_unit": "MM",
        "line_style": "dash" if dashed else "solid",
        "capstyle": "round",
        "joinstyle": "round",
    }


def _label(root: xml.Element, column: str, *, placement: str) -> None:
    labeling = xml.SubElement(root, "labeling", type="simple")
    settings = xml.SubElement(labeling, "settings", calloutType="simple")
    style = xml.SubElement(
        settings, "text-style", fieldName=column, isExpression="0", fontSize="10", fontSizeUnit="Point",
        fontWeight="75", namedStyle="Bold", textColor=_rgba(INK),
    )  # fmt: skip
    xml.SubElement(
        style,
        "text-buffer",
        bufferDraw="1",
        bufferSize="1",
        bufferSizeUnits="MM",
        bufferColor="255,255,255,255",
    )
    xml.SubElement(settings, "placement", placement=placement, dist="1")


def _root() -> xml.Element:
    return xml.Element("qgis", version="3.22.0", styleCategories="Symbology|Labeling", labelsEnabled="1")


def _single(root: xml.Element) -> xml.Element:
    renderer = xml.SubElement(
        root, "renderer-v2", type="singleSymbol", symbollevels="0", enableorderby="0", forceraster="0"
    )
    return xml.SubElement(renderer, "symbols")


def _fill(symbols: xml.Element, name: str, colour: str, *, opacity: float) -> None:
    properties = {"color": _rgba(colour), "outline_style": "no", "style": "solid"}
    _symbol(symbols, "fill", name, "SimpleFill", properties, opacity)


def _outline(symbols: xml.Element, colour: str, width: float) -> None:
    properties = {
        "style": "no",
        "outline_style": "solid",
        "outline_color": _rgba(colour),
        "outline_width": f"{width:g}",
        "outline_width_unit": "MM",
    }
    _symbol(symbols, "fill", "0", "SimpleFill", properties)


def _symbol(
    symbols: xml.Element, kind: str, name: str, layer: str, properties: dict[str, str], opacity: float = 1.0
) -> None:
    symbol = xml.SubElement(
        symbols, "symbol", type=kind, name=name, alpha=f"{opacity:g}", clip_to_extent="1", force_rhr="0"
    )
    element = xml.SubElement(symbol, "layer", {"class": layer, "enabled": "1", "pass": "0", "locked": "0"})
    _properties(element, properties.items())


def _properties(element: xml.Element, properties: Iterable[tuple[str, str]]) -> None:
    # QGIS before 3.20 reads only <prop>, later versions <Option>; QGIS 3.22 itself writes both.
    options = xml.SubElement(element, "Option", type="Map")
    for name, value in properties:
        xml.SubElement(options, "Option", type="QString", name=name, value=value)
        xml.SubElement(element, "prop", k=name, v=value)


def _rgba(colour: str) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"{red},{green},{blue},255"


def _text(root: xml.Element) -> str:
    xml.indent(root)
    body = xml.tostring(root, encoding="unicode")
    return f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n{body}\n"
