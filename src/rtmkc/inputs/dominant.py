"""Places that dominate: one exact point that holds very many incidents, such as a geocoding default."""

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from rtmkc.checks import check_count, check_share
from rtmkc.inputs.layers import Layer
from rtmkc.inputs.reading import LONLAT


def dominant_places(layer: Layer, *, share: float = 0.02, minimum: int = 10) -> pd.DataFrame:
    """Return the exact coordinates that hold a large share of a layer's points.

    One such place can make a hot spot, and the weights of every factor near it, by itself. Look at each,
    and leave it out with ``read_layer(..., exclude_places=[(latitude, longitude)])`` if it stands for
    something else: the address of a hospital that reports, or a geocoder's answer to a bad address.

    Parameters
    ----------
    layer : Layer
        Lines and areas in it are not looked at.
    share : float
        Least share of all points, greater than 0 and at most 1.
    minimum : int
        Least number of points.

    Returns
    -------
    DataFrame
        One row a place, the largest first: latitude, longitude (degrees, EPSG:4326), points, share.

    Raises
    ------
    InputError
        If `share` or `minimum` is out of range.

    Examples
    --------
    >>> from rtmkc import read_layer
    >>> table = pd.DataFrame({"lat": [39.0] * 12 + [39.1] * 5, "lon": [-94.5] * 17})
    >>> dominant_places(read_layer(table)).values.round(2).tolist()
    [[39.0, -94.5, 12.0, 0.71]]
    """
    shapes = layer.frame.geometry.to_numpy()
    shapes = np.asarray(shapes[shapely.get_type_id(shapes) == 0], dtype=object)
    least = max(check_count("minimum", minimum), check_share("share", share) * len(shapes))
    coordinates, rows = np.unique(shapely.get_coordinates(shapes), axis=0, return_counts=True)
    order = np.flatnonzero(rows >= least)
    order = order[np.argsort(-rows[order], kind="stable")]
    places = gpd.GeoSeries(shapely.points(coordinates[order]), crs=layer.crs).to_crs(LONLAT)
    return pd.DataFrame(
        {
            "latitude": places.y.to_numpy(),
            "longitude": places.x.to_numpy(),
            "points": rows[order],
            "share": rows[order] / max(len(shapes), 1),
        }
    )
