"""Risk terrain modeling: from places of disorder and incidents to risk, hot spots and next corridors."""

import importlib
from typing import Any

__version__ = "0.1.0"

# Public name -> the module that defines it. Loaded on first use (PEP 562), so that `import rtmkc` stays fast.
_HOME = {
    "Layer": "rtmkc.inputs.layers",
    "Ledger": "rtmkc.inputs.ledger",
    "read_layer": "rtmkc.inputs.layers",
    "RasterLayer": "rtmkc.inputs.rasters",
    "read_raster": "rtmkc.inputs.rasters",
    "dominant_places": "rtmkc.inputs.dominant",
    "read_kcpd_crime": "rtmkc.inputs.kansas_city.crime",
    "read_kc_311": "rtmkc.inputs.kansas_city.requests_311",
    "read_kc_buildings": "rtmkc.inputs.kansas_city.buildings",
    "read_kc_violations": "rtmkc.inputs.kansas_city.violations",
    "kc_factors": "rtmkc.inputs.kansas_city.factors",
    "StudyArea": "rtmkc.raster.area",
    "Grid": "rtmkc.raster.grid",
    "Frame": "rtmkc.raster.tiles",
    "RiskFactor": "rtmkc.raster.factors",
    "Candidates": "rtmkc.raster.candidates",
    "build_candidates": "rtmkc.raster.candidates",
    "build_curves": "rtmkc.raster.candidates",
    "Exposure": "rtmkc.raster.exposure",
    "RiskRegressor": "rtmkc.engine.regressor",
    "RiskTerrainModel": "rtmkc.model.why",
    "RiskForecast": "rtmkc.model.where",
    "RiskTerrain": "rtmkc.model.terrain",
    "diagnose": "rtmkc.model.diagnosis.table",
    "infer": "rtmkc.model.inference.options",
    "Inference": "rtmkc.model.inference.options",
    "stability": "rtmkc.model.inference.reselection",
    "assess": "rtmkc.model.terrain",
    "estimate_cost": "rtmkc.model.cost",
    "Cost": "rtmkc.model.cost",
    "load": "rtmkc.model.saving",
    "find_hotspots": "rtmkc.places.hotspots",
    "join_areas": "rtmkc.places.joins",
    "kinds_around": "rtmkc.places.joins",
    "score": "rtmkc.places.scoring",
    "explain": "rtmkc.places.scoring",
    "validate": "rtmkc.evidence.validation",
    "Validation": "rtmkc.evidence.validation",
    "audit_grid": "rtmkc.evidence.audits",
    "GridAudit": "rtmkc.evidence.audits",
    "audit_places": "rtmkc.evidence.audits",
    "PlacesAudit": "rtmkc.evidence.audits",
    "bias_panel": "rtmkc.evidence.bias",
    "BiasPanel": "rtmkc.evidence.bias",
    "minimum_detectable_reduction": "rtmkc.evidence.statistics.intervention",
    "plan_rollout": "rtmkc.evidence.programme",
    "StreetNetwork": "rtmkc.places.corridors.network.streets",
    "parse_addresses": "rtmkc.places.corridors.network.addresses",
    "streets_from_addresses": "rtmkc.places.corridors.network.address_streets",
    "StreetRisk": "rtmkc.places.corridors.risk",
    "CorridorRules": "rtmkc.places.corridors.choice.rules",
    "Treated": "rtmkc.places.corridors.choice.treated",
    "corridor_blocks": "rtmkc.places.corridors.along",
    "find_corridors": "rtmkc.places.corridors.search",
    "corridor_zones": "rtmkc.places.corridors.zones",
    "plan_canvass": "rtmkc.places.corridors.visits.canvass",
    "simulate_city": "rtmkc.simulate",
    "SimulatedCity": "rtmkc.simulate",
    "Effect": "rtmkc.simulate",
    "sample_path": "rtmkc.datasets",
    "sample_files": "rtmkc.datasets",
    "write_gpkg": "rtmkc.output.files",
    "write_relative_risk": "rtmkc.output.areas",
    "write_route_sheet": "rtmkc.output.routes",
    "write_gpx": "rtmkc.output.routes",
    "plot_risk": "rtmkc.output.plots",
    "plot_weights": "rtmkc.output.plots",
    "plot_corridors": "rtmkc.output.plots_corridors",
    "plot_corridor_strip": "rtmkc.output.plots_corridors",
    "write_report": "rtmkc.output.report",
    "write_brief": "rtmkc.output.briefs",
    "write_briefs": "rtmkc.output.briefs",
    "plot_hit_rates": "rtmkc.output.plots_validation",
    "plot_calibration": "rtmkc.output.plots_validation",
    "write_validation_page": "rtmkc.output.validation_page",
    "Study": "rtmkc.workflow.study",
    "run": "rtmkc.workflow.run",
    "plan_corridors": "rtmkc.workflow.corridors",
    "CorridorPlan": "rtmkc.workflow.corridors",
    "write_study": "rtmkc.workflow.init",
    "check_data": "rtmkc.workflow.check",
    "validate_study": "rtmkc.workflow.validation",
    "audit_study": "rtmkc.workflow.audit",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'rtmkc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
