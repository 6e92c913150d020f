"""Write the synthetic sample: a north-east Kansas City that never was.

    python generate.py            writes every file of this folder anew, byte for byte
    python generate.py FOLDER     writes them to another folder

Needs numpy alone. Randomness comes from `numpy.random.RandomState`, whose streams numpy has promised never to
change; every part of the city draws from a stream of its own, so that changing one part leaves the others as
they were. Nothing here is a record of anything that happened: street names are those of the real main streets
at approximate places, everything else is made up.

The city is laid out in local metres (east and north of the crossing of Independence Avenue with the middle
of the area) and written in degrees.
"""

import csv
import datetime
import hashlib
import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np

SEED = 230573  # the ordinance; see README for how it was chosen
BLOCK = 137.16  # 450 ft
LONGITUDE_0, LATITUDE_0 = -94.535, 39.1067
METRES_PER_DEGREE_NORTH = 111_017.4  # of the WGS 84 ellipsoid at 39.1 degrees north
METRES_PER_DEGREE_EAST = 86_502.0

YEARS = (2022, 2023, 2024)
REPORTS_FROM, REPORTS_TO = datetime.date(2021, 3, 4), datetime.date(2021, 12, 31)
EXPECTED_VIOLENT = 2_050  # inside the area, over the three years
YEAR_SHARES = (0.345, 0.335, 0.320)
NOISE_VARIANCE, NOISE_RANGE = 0.12, 200.0  # of the log intensity; metres
ROAD_MULTIPLIERS = {"primary": 1.6, "secondary": 1.25, "tertiary": 1.0, "residential": 1.0}

# What is true. A kind of None means that the factor has nothing to do with violence.
FACTORS = {
    "street lights out": {
        "kind": "proximity", "influence_m": BLOCK, "rrv": 2.0,
        "types": {"A Street Light Problem": ("Street Light Out",)},
        "group": "Public Works-Street and Traffic-Streetlights",
        "parents": 42, "children": 6.0, "spread": 150.0, "on_street": True, "repeats": 0.30,
    },
    "vacant houses": {
        "kind": "density", "influence_m": 1.5 * BLOCK, "rrv": 2.5,
        "types": {
            "A Vacant or Dangerous Building": (
                "Open to Entry", "Failure to Register Vacant Property", "Contractor Board Up Referrals"
            )
        },
        "group": "NCS-Neighborhood Preservation-Open Entry",
        "parents": 34, "children": 8.0, "spread": 120.0, "on_street": False, "repeats": 0.0,
    },
    "illegal dumping": {
        "kind": "proximity", "influence_m": 0.5 * BLOCK, "rrv": 2.0,
        "types": {
            "Illegal Dumping": (
                "Illegal Dumping on Right of Way", "Illegal Dumping on Private Property", "Illegal Dumping in Alley"
            )
        },
        "group": "NCS-Neighborhood Preservation-Illegal Dumping",
        "parents": 60, "children": 7.0, "spread": 190.0, "on_street": False, "repeats": 0.20,
    },
    "overgrown shrubs": {
        "kind": None, "influence_m": None, "rrv": 1.0,
        "types": {
            "Overgrown Weeds or Shrubs": (
                "Weeds on Vacant Lot", "Weeds on Lot with Structure", "Overgrown Shrubs over Sidewalk"
            )
        },
        "group": "NCS-Neighborhood Preservation-",
        "parents": 55, "children": 6.0, "spread": 200.0, "on_street": False, "repeats": 0.15,
    },
    "health violations": {
        "kind": None, "influence_m": None, "rrv": 1.0,
        "types": {
            "A Food Establishment Complaint": ("Food - Restaurant", "Food - Convenience / Grocery Store"),
            "A Rodent Problem": ("Rat Treatment - Vacant Lot", "Rat Treatment - Vacant Home"),
        },
        "group": "Health-Environmental Health-Food",
        "parents": 30, "children": 5.0, "spread": 220.0, "on_street": False, "repeats": 0.10,
    },
}  # fmt: skip

# Reports that say nothing about the factors: (issue type, sub-types, work group, number).
OTHER_REPORTS = (
    ("A Pothole", ("Pothole in Street", "Pothole in Alley"), "Public Works-Street and Traffic-", 420),
    ("A Missed Trash or Recycling Collection", ("Trash Missed", "Recycling Missed"), "Public Works-Solid Waste-", 360),
    ("A Street Light Problem", ("Street Light On During Day", "Street Light Blinking"),
     "Public Works-Street and Traffic-Streetlights", 60),
    ("A Bulky Item Pickup", ("Dumpster Placement", "Bulky Item Appointment"), "Public Works-Solid Waste-", 120),
    ("An Abandoned Vehicle", ("Abandoned on Street - Car", "Abandoned on Street - Trailer"), "Tow Services-", 130),
    ("A Stray or Injured Animal", ("Stray Dog", "Animal Bite"), "NCS-Animal Health and Safety-", 150),
    ("A Water Leak", ("Water Main Break", "Hydrant Leaking"), "Water Services-", 110),
    ("Graffiti", ("Graffiti on Private Property", "Graffiti on Signs"), "NCS-Neighborhood Preservation-", 40),
    ("A Noise Complaint", ("Noise - Music", "Noise - Vehicles"), "Health-Environmental Health-Noise", 30),
    ("A Homeless Camp", ("Homeless Camp",), "Police-", 15),
    ("A Sidewalk or Curb Problem", ("Sidewalk Repair", "Curb Repair"), "Public Works-Capital Projects-", 55),
)  # fmt: skip

COLUMNS = (  # avenues, west to east
    "Lydia Avenue", "The Paseo", "Highland Avenue", "Woodland Avenue", "Michigan Avenue", "Euclid Avenue",
    "Garfield Avenue", "Brooklyn Avenue", "Park Avenue", "Olive Street", "Wabash Avenue", "Prospect Avenue",
    "Montgall Avenue", "Chestnut Avenue", "Benton Boulevard", "Indiana Avenue", "Bales Avenue", "Monroe Avenue",
    "Cleveland Avenue", "Myrtle Avenue", "Askew Avenue", "Norton Avenue", "Jackson Avenue", "Spruce Avenue",
    "Kensington Avenue", "Elmwood Avenue", "Cypress Avenue", "Lawn Avenue", "Van Brunt Boulevard",
    "Denver Avenue", "Oakley Avenue", "Hardesty Avenue", "Quincy Avenue", "Drury Avenue", "Lawndale Avenue",
    "Topping Avenue", "Bellaire Avenue", "Belmont Avenue", "Ewing Avenue", "Winchester Avenue", "Manchester Avenue",
)  # fmt: skip
ROWS = (  # streets, south to north; Independence Avenue is row 13
    "East 18th Street", "East 17th Street", "East 16th Street", "Truman Road", "East 14th Street",
    "East 13th Street", "East 12th Street", "East 11th Street", "East 10th Street", "East 9th Street",
    "East 8th Street", "East 7th Street", "East 6th Street", "Independence Avenue", "Lexington Avenue",
    "Thompson Avenue", "Smart Avenue", "Anderson Avenue", "Windsor Avenue", "St John Avenue", "Morrell Avenue",
    "Scarritt Avenue", "Norledge Avenue", "Heim Avenue", "Roberts Street", "Cliff Drive",
)  # fmt: skip
INDEPENDENCE, ST_JOHN, BENTON, HARDESTY = 13, 19, 14, 31
ROAD_CLASSES = {
    "Independence Avenue": "primary", "Truman Road": "primary", "The Paseo": "secondary",
    "Prospect Avenue": "secondary", "Benton Boulevard": "secondary", "Gladstone Boulevard": "secondary",
    "Van Brunt Boulevard": "secondary", "Hardesty Avenue": "secondary", "St John Avenue": "secondary",
    "East 12th Street": "secondary", "East 9th Street": "tertiary", "Lexington Avenue": "tertiary",
    "Chestnut Avenue": "tertiary", "Cleveland Avenue": "tertiary", "Jackson Avenue": "tertiary",
    "Topping Avenue": "tertiary", "Cliff Drive": "tertiary",
}  # fmt: skip

OUTLINE = (  # local metres, counter-clockwise
    (-2590, -1500), (-2310, -1890), (-1500, -1985), (-300, -1905), (900, -1850), (1700, -1960), (2330, -1790),
    (2560, -1210), (2480, -500), (2610, 260), (2500, 900), (2050, 1240), (1500, 1610), (620, 1560), (240, 1690),
    (-700, 1720), (-1440, 1480), (-1900, 1010), (-2450, 760), (-2620, 150),
)  # fmt: skip
PARK = ((-1010, 1190), (-830, 1120), (-250, 1210), (70, 1280), (20, 1500), (-380, 1560), (-900, 1470))
SLIVER = ((1190.0, -652.0), (1247.0, -646.0), (1218.0, -643.0))  # 57 m long, 9 m wide at most

NEIGHBOURHOODS = {  # local metres, approximate
    "Paseo West": ((-2750, -420), (-2065, -430), (-2065, 8), (-2065, 1000), (-2750, 900)),
    "Independence Plaza": ((-2065, -430), (-810, -450), (-810, 5), (-2065, 8)),
    "Pendleton Heights": ((-2065, 8), (-810, 5), (-810, 1800), (-2065, 1400), (-2065, 1000)),
    "Scarritt Point": ((-810, 5), (340, -5), (330, 1800), (-810, 1800)),
    "Lykins": ((-810, -450), (-350, -445), (700, -440), (700, -5), (340, -5), (-810, 5)),
    "Indian Mound": ((340, -5), (700, -5), (2700, 10), (2700, 1000), (1500, 1750), (330, 1800)),
    "Sheffield": ((700, -440), (2700, -430), (2700, 10), (700, -5)),
    "Forgotten Homes": (
        (-2750, -2100),
        (-350, -2050),
        (-350, -445),
        (-810, -450),
        (-2065, -430),
        (-2750, -420),
    ),
    "Ashland Ridge": ((-350, -2050), (2700, -2050), (2700, -430), (700, -440), (-350, -445)),
}

CRIME_COLUMNS = (
    "Report_No", "Reported_Date", "Reported_Time", "From_Date", "From_Time", "To_Date", "To_Time", "Offense",
    "IBRS", "Description", "Beat", "Address", "City", "Zip Code", "Rep_Dist", "Area", "DVFlag", "Involvement",
    "Race", "Sex", "Age", "Age_Range", "Fire Arm Used Flag", "Location",
)  # fmt: skip
REQUEST_COLUMNS = (
    "reported_issue", "workorder_", "issue_type", "issue_sub_type", "current_status", "open_date_time",
    "days_to_close", "incident_address", "council_district", "department_work_group", "report_source",
    "source_category", "lat_long", "last_updated", "additional_questions",
)  # fmt: skip
VIOLENT = (  # IBRS, offence, description, share of the violent, firearm share, domestic
    ("13A", "Assault (Aggravated)", "Aggravated Assault", 0.52, 0.55, False),
    ("13A", "Domestic Violence Assault (Aggravated)", "Aggravated Assault", 0.22, 0.15, True),
    ("120", "Robbery (Armed Street)", "Robbery", 0.13, 0.80, False),
    ("120", "Robbery (Strong Arm)", "Robbery", 0.07, 0.00, False),
    ("120", "Robbery (Armed Business)", "Robbery", 0.04, 0.85, False),
    ("09A", "Murder", "Murder", 0.02, 0.90, False),
)
NOT_VIOLENT = (
    ("220", "Burglary (Residential)", "Burglary/Breaking and Entering", 0.16, 0.0, False),
    ("220", "Burglary (Non-Residential)", "Burglary/Breaking and Entering", 0.07, 0.0, False),
    ("23F", "Stealing from Auto (Theft from Auto)", "Theft From Motor Vehicle", 0.20, 0.0, False),
    ("23C", "Stealing \u2013 Shoplift", "Shoplifting", 0.09, 0.0, False),
    ("240", "Stolen Auto", "Motor Vehicle Theft", 0.22, 0.02, False),
    ("35A", "Possession/Sale/Dist", "Drug/Narcotic Violations", 0.05, 0.05, False),
    ("26B", "Fraud (Credit Card/ATM)", "Credit Card/Automated Teller Machine Fraud", 0.04, 0.0, False),
    ("", "City/Municipal Warrant Arrest", "", 0.10, 0.0, False),
    ("", "Recovered Stolen Property", "", 0.05, 0.0, False),
    ("999", "Withheld", "", 0.02, 0.0, False),
)
EXPECTED_NOT_VIOLENT = 2_300  # on all blocks, over the three years


# ---------------------------------------------------------------- geometry in local metres


def to_degrees(position):
    """Longitude and latitude, six decimals (0.1 m)."""
    return (
        round(LONGITUDE_0 + float(position[0]) / METRES_PER_DEGREE_EAST, 6),
        round(LATITUDE_0 + float(position[1]) / METRES_PER_DEGREE_NORTH, 6),
    )


def inside(positions, ring):
    """True where a position lies in the ring, by crossing number."""
    east, north = np.asarray(positions, dtype=float).T
    within = np.zeros(len(east), dtype=bool)
    for (e1, n1), (e2, n2) in zip(ring, (*ring[1:], ring[0]), strict=True):
        if n1 != n2:
            crosses = (n1 > north) != (n2 > north)
            within ^= crosses & (east < (e2 - e1) * (north - n1) / (n2 - n1) + e1)
    return within


def inside_area(positions):
    """True inside the outline and outside the park; the sliver is meant to be closed."""
    return inside(positions, OUTLINE) & ~inside(positions, PARK)


def nearest(positions, others):
    """Distance to the nearest of the others, and which one it is."""
    distances = np.hypot(
        positions[:, None, 0] - others[None, :, 0], positions[:, None, 1] - others[None, :, 1]
    )
    return distances.min(axis=1), distances.argmin(axis=1)


def density(positions, points, radius):
    """Quartic kernel density, features per square metre."""
    squared = (positions[:, None, 0] - points[None, :, 0]) ** 2 + (
        positions[:, None, 1] - points[None, :, 1]
    ) ** 2
    return 3.0 / (math.pi * radius**2) * (np.clip(1.0 - squared / radius**2, 0.0, None) ** 2).sum(axis=1)


def lattice():
    """Points half a block apart over the area: where the cut of a density is taken."""
    step = BLOCK / 2
    east, north = np.meshgrid(np.arange(-2700.0, 2700.0, step), np.arange(-2050.0, 1800.0, step))
    positions = np.column_stack([east.ravel(), north.ravel()])
    return positions[inside_area(positions)]


def noise_field(random, positions):
    """A Gaussian field with covariance NOISE_VARIANCE exp(-d / NOISE_RANGE), read off a 50 m lattice."""
    step, size = 50.0, 256
    lag = np.minimum(np.arange(size), size - np.arange(size)) * step
    covariance = NOISE_VARIANCE * np.exp(-np.hypot(lag[:, None], lag[None, :]) / NOISE_RANGE)
    spectrum = np.clip(np.fft.fft2(covariance).real, 0.0, None)
    white = random.normal(size=(size, size)) + 1j * random.normal(size=(size, size))
    field = np.fft.fft2(np.sqrt(spectrum / size**2) * white).real
    column = np.rint((positions[:, 0] + 3000.0) / step).astype(int)
    row = np.rint((positions[:, 1] + 2500.0) / step).astype(int)
    return field[row, column]


# ---------------------------------------------------------------- streets


def node(column, row, easts, norths):
    """A crossing: a regular grid, gently bent."""
    east, north = easts[column], norths[row]
    return (
        east + 12.0 * math.sin(north / 900.0 + 0.4),
        north + 12.0 * math.sin(east / 1100.0 + 0.5) - 6.0,
    )


def is_on_gladstone(column, row, along_row):
    """Gladstone Boulevard takes the place of Indiana Avenue north of Independence, and of a stretch of Scarritt."""
    if along_row:
        return row == 21 and 18 <= column < 27
    return column == 15 and INDEPENDENCE <= row < 18


def build_streets():
    """Segments between crossings: a list of dicts with name, road_class, block (the hundred), line."""
    random = np.random.RandomState(SEED + 1)
    easts = [
        (k - 20) * 135.0 + (0.0 if k in (BENTON, HARDESTY) else random.uniform(-7, 7))
        for k in range(len(COLUMNS))
    ]
    norths = [(k - INDEPENDENCE) * BLOCK + random.uniform(-7, 7) for k in range(len(ROWS))]
    norths[INDEPENDENCE] = 0.0
    segments = []

    def add(name, block, line):
        road_class = ROAD_CLASSES.get(name, "residential")
        segments.append({"name": name, "road_class": road_class, "block": block, "line": line})

    def gaps(name, n):
        """Local streets are interrupted here and there."""
        missing = set()
        if name not in ROAD_CLASSES:
            for _ in range(random.randint(0, 3)):
                first = random.randint(0, n)
                missing.update(range(first, first + random.randint(1, 4)))
        return missing

    for row, name in enumerate(ROWS):
        missing = gaps(name, len(COLUMNS) - 1)
        for column in range(len(COLUMNS) - 1):
            gladstone = is_on_gladstone(column, row, along_row=True)
            if column in missing and not gladstone:
                continue
            line = [node(column, row, easts, norths), node(column + 1, row, easts, norths)]
            add("Gladstone Boulevard" if gladstone else name, 1500 + 100 * column, line)
    for column, name in enumerate(COLUMNS):
        missing = gaps(name, len(ROWS) - 1)
        for row in range(len(ROWS) - 1):
            gladstone = is_on_gladstone(column, row, along_row=False)
            if row in missing and not gladstone:
                continue
            line = [node(column, row, easts, norths), node(column, row + 1, easts, norths)]
            hundred = (
                ST_JOHN - row if row < ST_JOHN else -(row - ST_JOHN)
            )  # north of St John Avenue: N, counted up
            add("Gladstone Boulevard" if gladstone else name, 100 * hundred, line)
    for step in range(3):  # Gladstone's diagonal, from crossing to crossing
        line = [node(15 + step, 18 + step, easts, norths), node(16 + step, 19 + step, easts, norths)]
        add("Gladstone Boulevard", 100 * (ST_JOHN - 18 - step), line)

    segments = [
        s for s in segments if not inside([np.mean(s["line"], axis=0)], PARK)[0] or s["name"] == "Cliff Drive"
    ]

    crossings = [
        k for k, name in enumerate(COLUMNS) if ROAD_CLASSES.get(name) == "secondary"
    ]  # over the motorway
    ramps = []
    for column in crossings:
        top = node(column, 0, easts, norths)
        bottom = (top[0] + 4.0, -1965.0 + 55.0 * math.sin(top[0] / 1300.0))
        ramps.append(bottom)
        add(COLUMNS[column], 100 * ST_JOHN, [top, bottom])
    ends = [(-2750.0, ramps[0][1] + 40.0), *ramps, (2750.0, ramps[-1][1] - 30.0)]
    for k, (first, last) in enumerate(itertools.pairwise(ends)):
        middle = [tuple(np.add(first, np.multiply(t, np.subtract(last, first)))) for t in (0.25, 0.5, 0.75)]
        bent = [
            (e, -1965.0 + 55.0 * math.sin(e / 1300.0)) if 0 < k < len(ends) - 2 else (e, n) for e, n in middle
        ]
        segments.append({"name": "I-70", "road_class": "motorway", "block": 0, "line": [first, *bent, last]})
    return segments


def street_text(name, block):
    """The street as the police write it: `E 9 ST`, `INDEPENDENCE AV`, `N BENTON BLVD`."""
    words = name.upper().split()
    words = [w.rstrip("THSNDR") if w[0].isdigit() else w for w in words]
    short = {"AVENUE": "AV", "STREET": "ST", "BOULEVARD": "BLVD", "ROAD": "RD", "DRIVE": "DR", "EAST": "E"}
    text = " ".join(short.get(w, w) for w in words)
    return f"N {text}" if block < 0 or (block == 0 and not text.startswith("E ")) else text


def build_anchors(segments):
    """The places incidents are recorded at: two on every block, a quarter from either end."""
    positions, owners, lengths = [], [], []
    for k, segment in enumerate(segments):
        if segment["road_class"] == "motorway":
            continue
        first, last = np.asarray(segment["line"][0]), np.asarray(segment["line"][-1])
        for share in (0.25, 0.75):
            positions.append(first + share * (last - first))
            owners.append(k)
            lengths.append(float(np.hypot(*(last - first))) / 2)
    return np.asarray(positions), np.asarray(owners), np.asarray(lengths)


# ---------------------------------------------------------------- factors and 311 reports


def build_points(name, segments, anchors):
    """Clustered points of one factor, over the area and 500 m around it."""
    law = FACTORS[name]
    random = np.random.RandomState(SEED + 10 + list(FACTORS).index(name))
    parents = np.column_stack(
        [random.uniform(-3000, 3000, law["parents"]), random.uniform(-2400, 2100, law["parents"])]
    )
    if (
        law["kind"] is not None
    ):  # what is active is also found along the avenue that was treated, and elsewhere
        along = [(-560, 40), (180, -50), (760, 60), (1290, -30), (-1240, -700), (1900, -1330), (-1230, 350)]
        picked = random.permutation(len(along))[:5]
        parents = np.vstack([parents, np.asarray(along, dtype=float)[picked] + random.normal(0, 90, (5, 2))])
    children = random.poisson(law["children"], len(parents))
    points = np.repeat(parents, children, axis=0) + random.normal(0, law["spread"], (children.sum(), 2))
    kept = (
        (np.abs(points[:, 0]) < 2950) & (points[:, 1] > -2350) & (points[:, 1] < 2050) & ~inside(points, PARK)
    )
    points = points[kept]
    if law["on_street"]:
        distance, which = nearest(points, anchors)
        points = np.where(
            (distance < 120.0)[:, None], anchors[which] + random.normal(0, 14, points.shape), points
        )
    return np.unique(np.round(points, 1), axis=0)


def date_time(random, first, last):
    day = first + datetime.timedelta(days=int(random.randint(0, (last - first).days + 1)))
    return datetime.datetime.combine(
        day, datetime.time(int(random.randint(6, 22)), int(random.randint(0, 60)))
    )


def build_requests(points_of, segments, anchors, owners):
    """Rows of the 311 file, and what was put wrong with it on purpose."""
    random = np.random.RandomState(SEED + 30)
    drafts = []  # (issue type, sub type, work group, position, cancelled)
    for name, points in points_of.items():
        law = FACTORS[name]
        pairs = [(t, s) for t, subs in law["types"].items() for s in subs]
        for point in points:
            issue_type, sub_type = pairs[random.randint(len(pairs))]
            times = 1 + (random.uniform() < law["repeats"]) + (random.uniform() < law["repeats"] / 3)
            drafts += [(issue_type, sub_type, law["group"], point, False)] * int(times)
        for _ in range(max(3, len(points) // 40)):  # reported, and found to be nothing
            where = anchors[random.randint(len(anchors))] + random.normal(0, 30, 2)
            issue_type, sub_type = pairs[random.randint(len(pairs))]
            drafts.append((issue_type, sub_type, law["group"], where, True))
    for issue_type, sub_types, group, count in OTHER_REPORTS:
        for _ in range(count):
            where = anchors[random.randint(len(anchors))] + random.normal(0, 12, 2)
            drafts.append(
                (issue_type, sub_types[random.randint(len(sub_types))], group, where, random.uniform() < 0.03)
            )
    opened = [date_time(random, REPORTS_FROM, REPORTS_TO) for _ in drafts]
    order = sorted(range(len(drafts)), key=lambda k: (opened[k], k))
    statuses = (
        "resolved",
        "Resolved",
        "RESOLVED",
        "closed",
        "Closed",
        "assigned",
        "Referred",
        "received",
        "active",
        "New",
    )
    weights = np.array([0.42, 0.22, 0.04, 0.12, 0.06, 0.05, 0.03, 0.02, 0.02, 0.02])
    rows, counts = [], {"cancelled": 0, "no location": 0, "false origin": 0, "duplicate": 0}
    for number, k in enumerate(order):
        issue_type, sub_type, group, where, cancelled = drafts[k]
        status = statuses[random.choice(len(statuses), p=weights)]
        if cancelled:
            status = ("canceled", "Canceled", "CANCELED")[random.randint(3)]
        segment = segments[owners[nearest(where[None, :], anchors)[1][0]]]
        house = abs(segment["block"]) + int(random.randint(0, 50)) * 2
        address = f"{house} {street_text(segment['name'], segment['block'])}, KANSAS CITY, MO 64124"
        longitude, latitude = to_degrees(where)
        location = f"POINT ({longitude:.6f} {latitude:.6f})"
        dirt = random.uniform()
        if dirt < 0.012:
            location = ""
        elif dirt < 0.020:
            location = "POINT (-103.89058 35.79752)"
        days = int(random.gamma(1.3, 12.0)) if status.lower() in ("resolved", "closed", "canceled") else None
        updated = opened[k] + datetime.timedelta(
            days=days if days is not None else int(random.randint(0, 60)), hours=3
        )
        source = ("PHONE", "myKCMO", "WEB", "EMAIL")[random.choice(4, p=[0.45, 0.35, 0.15, 0.05])]
        row = {
            "reported_issue": f"{2021000000 + 137 * number + int(random.randint(137))}",
            "workorder_": f"WO-{410000 + number}" if random.uniform() < 0.8 else "",
            "issue_type": issue_type, "issue_sub_type": sub_type, "current_status": status,
            "open_date_time": opened[k].strftime("%m/%d/%Y %I:%M:%S %p"),
            "days_to_close": "" if days is None else str(days),
            "incident_address": address if random.uniform() > 0.03 else "",
            "council_district": "3" if where[1] < -300 else "4",
            "department_work_group": group, "report_source": source,
            "source_category": "Phone" if source == "PHONE" else "Digital",
            "lat_long": location, "last_updated": updated.strftime("%m/%d/%Y %I:%M:%S %p"),
            "additional_questions": '{"Is this an emergency?": "No"}' if random.uniform() < 0.1 else "",
        }  # fmt: skip
        counts["cancelled"] += cancelled
        counts["no location"] += location == ""
        counts["false origin"] += location.startswith("POINT (-103")
        rows.append(row)
        if random.uniform() < 0.012:
            rows.append(dict(row))
            counts["duplicate"] += 1
    return rows, counts


# ---------------------------------------------------------------- incidents


def violent_intensity(segments, anchors, owners, lengths, points_of):
    """Expected violent incidents of three years at every anchor: the truth."""
    intensity = lengths / BLOCK * np.array([ROAD_MULTIPLIERS[segments[k]["road_class"]] for k in owners])
    cuts, cells = {}, lattice()
    for name, law in FACTORS.items():
        if law["kind"] == "proximity":
            exposed = nearest(anchors, points_of[name])[0] <= law["influence_m"]
        elif law["kind"] == "density":
            over_cells = density(cells, points_of[name], law["influence_m"])
            cuts[name] = float(over_cells.mean() + 2 * over_cells.std())
            exposed = density(anchors, points_of[name], law["influence_m"]) > cuts[name]
        else:
            continue
        intensity = intensity * np.where(exposed, law["rrv"], 1.0)
    noise = noise_field(np.random.RandomState(SEED + 40), anchors)
    intensity = intensity * np.exp(noise - NOISE_VARIANCE / 2)
    return intensity * (EXPECTED_VIOLENT / intensity[inside_area(anchors)].sum()), cuts


def occurrence(random, year):
    """A date and time: somewhat more in summer, on weekend nights and in the evening."""
    while True:
        day = datetime.date(year, 1, 1) + datetime.timedelta(
            days=int(random.randint(0, 365 + (year == 2024)))
        )
        season = 1 + 0.15 * math.cos(2 * math.pi * (day.timetuple().tm_yday - 200) / 365)
        if random.uniform() * 1.35 < season * (1.15 if day.weekday() >= 5 else 0.97):
            break
    hour = int(random.choice(24, p=HOURS))
    return datetime.datetime.combine(day, datetime.time(hour, int(random.randint(0, 60))))


HOURS = 1 + 0.8 * np.cos(2 * np.pi * (np.arange(24) - 22) / 24)
HOURS = HOURS / HOURS.sum()


def draw_incidents(intensity, segments, anchors, owners):
    """Incidents as dicts: when, where, what, violent or not."""
    random = np.random.RandomState(SEED + 50)
    roads = np.array([ROAD_MULTIPLIERS[segments[k]["road_class"]] ** 2 for k in owners])
    other = roads * np.exp(noise_field(np.random.RandomState(SEED + 41), anchors))
    other *= EXPECTED_NOT_VIOLENT / other.sum()
    incidents = []
    for kinds, expected, violent in ((VIOLENT, intensity, True), (NOT_VIOLENT, other, False)):
        shares = np.array([kind[3] for kind in kinds])
        for year, share in zip(YEARS, YEAR_SHARES, strict=True):
            for place in np.repeat(np.arange(len(anchors)), random.poisson(expected * share)):
                kind = kinds[random.choice(len(kinds), p=shares / shares.sum())]
                incidents.append(
                    {"place": int(place), "when": occurrence(random, year), "kind": kind, "violent": violent}
                )
    for _ in range(45):  # what is booked at a station is recorded at its door
        kind = NOT_VIOLENT[7]
        incidents.append(
            {
                "place": STATION,
                "when": occurrence(random, 2022 + random.randint(3)),
                "kind": kind,
                "violent": False,
            }
        )
    return incidents


STATION = 901  # an anchor


def write_dirt(random, incident, row):
    """Put wrong with a report what is wrong with real ones; returns the name of the fault, or None."""
    kind = incident["kind"]
    if kind[1] == "Withheld":
        row.update({"Location": "99999(0.0, 0.0)", "Address": "99999", "Zip Code": "99999"})
        return "withheld"
    fate = random.uniform()
    if fate < 0.030:
        row["Location"] = ""
        return "no location"
    if fate < 0.034:
        row.update({"Location": "POINT (-82.39 28.04)", "City": "TAMPA", "Zip Code": "33619"})
        return "wrong city"
    if fate < 0.039:
        year = int(random.randint(1923, 1999))
        row["From_Date"] = f"01/{int(random.randint(1, 29)):02d}/{year}"
        return "junk date"
    if fate < 0.069:
        row.update({"From_Date": "", "From_Time": ""})  # the report's own date then counts
        return None
    if fate < 0.079:
        row["Zip Code"], row["Beat"] = "0", "999"
    return None


def build_crime(incidents, segments, anchors, owners):
    """Rows of the three crime files, and the ledger of what is in them."""
    random = np.random.RandomState(SEED + 60)
    drafts = []
    for incident in incidents:
        lag = 0 if random.uniform() < (0.9 if incident["violent"] else 0.6) else int(random.geometric(0.3))
        reported = incident["when"] + datetime.timedelta(days=lag, minutes=int(random.randint(5, 120)))
        drafts.append((min(reported, datetime.datetime(2024, 12, 31, 23, 59)), incident))
    drafts.sort(key=lambda draft: draft[0])
    rows = {year: [] for year in YEARS}
    ledger = {
        "reports": 0,
        "violent_reports": 0,
        "violent_faults": {},
        "violent_usable_inside": 0,
        "in_two_files": 0,
    }
    within = inside_area(anchors)
    serial = dict.fromkeys(YEARS, 0)
    for reported, incident in drafts:
        year = reported.year
        serial[year] += 1 + int(random.randint(0, 40))
        segment = segments[owners[incident["place"]]]
        longitude, latitude = to_degrees(anchors[incident["place"]])
        ibrs, offense, description, _, firearm, domestic = incident["kind"]
        ended = incident["when"] + datetime.timedelta(
            hours=0 if incident["violent"] else int(random.randint(0, 14))
        )
        east, north = anchors[incident["place"]]
        row = {
            "Report_No": f"KC{year % 100}{serial[year]:06d}",
            "Reported_Date": reported.strftime("%m/%d/%Y"), "Reported_Time": reported.strftime("%H:%M"),
            "From_Date": incident["when"].strftime("%m/%d/%Y"), "From_Time": incident["when"].strftime("%H:%M"),
            "To_Date": ended.strftime("%m/%d/%Y") if random.uniform() < 0.25 else "", "To_Time": "",
            "Offense": offense, "IBRS": ibrs, "Description": description,
            "Beat": str(311 + int(east > 0) + 10 * int(north > 0)),
            "Address": f"{abs(segment['block'])} {street_text(segment['name'], segment['block'])}",
            "City": "KANSAS CITY", "Zip Code": "64127" if north < -450 else ("64124" if east < 700 else "64123"),
            "Rep_Dist": f"PJ{int(abs(east) // 50):02d}{int(abs(north) // 50):02d}",
            "Area": "EPD" if east > -1500 else "CPD", "DVFlag": str(domestic),
            "Race": "X", "Sex": "X", "Age": "0", "Age_Range": "X",
            "Fire Arm Used Flag": str(bool(random.uniform() < firearm)),
            "Location": f"POINT ({longitude:.6f} {latitude:.6f})",
        }  # fmt: skip
        if row["To_Date"]:
            row["To_Time"] = ended.strftime("%H:%M")
            if random.uniform() < 0.05:
                row["To_Date"] += " 12:00:00 AM"
        fault = write_dirt(random, incident, row)
        ledger["reports"] += 1
        if incident["violent"]:
            ledger["violent_reports"] += 1
            if fault:
                ledger["violent_faults"][fault] = ledger["violent_faults"].get(fault, 0) + 1
            elif within[incident["place"]]:
                ledger["violent_usable_inside"] += 1
        people = involved(random, incident)
        written = [dict(row, Involvement=who) for who in people]
        if len(written) > 1 and row["Location"].startswith("POINT (-94") and random.uniform() < 0.03:
            written[0]["Location"] = ""  # another row of the report has the place
        if random.uniform() < 0.02 and ibrs:
            second = {
                "Offense": "Property Damage",
                "IBRS": "290",
                "Description": "Destruction/Damage/Vandalism of Property",
            }
            written.append(dict(row, Involvement="VIC", **second))
        rows[year] += written
        if (reported.month, reported.day) >= (12, 20) and year < 2024 and random.uniform() < 0.35:
            rows[year + 1] += [dict(w) for w in written]  # the next year's table repeats it
            ledger["in_two_files"] += 1
    for year in YEARS:
        rows[year].sort(key=lambda r: r["Report_No"])
    ledger["rows"] = sum(len(r) for r in rows.values())
    return rows, ledger


def involved(random, incident):
    """The Involvement of every person on a report: at least a victim, unless it is an arrest."""
    if incident["kind"][1] == "City/Municipal Warrant Arrest":
        return ["ARR CHA SUS"]
    people = ["CMP VIC" if random.uniform() < 0.35 else "VIC"]
    if incident["violent"]:
        people += ["VIC"] * int(random.uniform() < 0.15) + ["SUS"] * int(random.poisson(0.7))
        people += ["VIC WIT"] * int(random.uniform() < 0.08) + ["ARR CHA SUS"] * int(random.uniform() < 0.2)
    else:
        people += ["SUS"] * int(random.uniform() < 0.25) + ["CMP"] * int(random.uniform() < 0.1)
    order = random.permutation(len(people))
    return [people[k] for k in order]


# ---------------------------------------------------------------- files


def write_features(path, features, note):
    """GeoJSON, one feature a line."""
    lines = [
        json.dumps({"type": "Feature", "properties": properties, "geometry": geometry}, separators=(",", ":"))
        for properties, geometry in features
    ]
    head = f'{{"type":"FeatureCollection","name":{json.dumps(path.stem)},"description":{json.dumps(note)},"features":[\n'
    path.write_text(head + ",\n".join(lines) + "\n]}\n", encoding="utf-8", newline="\n")


def write_rows(path, columns, rows):
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def ring(positions):
    closed = [*positions, positions[0]]
    return [list(to_degrees(p)) for p in closed]


def write_shapes(folder, segments):
    """Boundary, streets, the treated stretch and the neighbourhoods."""
    area = {"type": "Polygon", "coordinates": [ring(OUTLINE), ring(PARK[::-1]), ring(SLIVER[::-1])]}
    note = "Synthetic. Approximate outline; the large hole is a park like Kessler Park, the small one a digitising fault."
    write_features(
        folder / "boundary.geojson", [({"name": "Kansas City north-east (synthetic)"}, area)], note
    )
    features = [
        (
            {"name": s["name"], "road_class": s["road_class"]},
            {"type": "LineString", "coordinates": [list(to_degrees(p)) for p in s["line"]]},
        )
        for s in segments
    ]
    write_features(
        folder / "streets.geojson", features, "Synthetic. Names of real streets at approximate places."
    )
    first, last = (-20 + BENTON) * 135.0 - 1, (-20 + HARDESTY) * 135.0 + 20
    stretch = [
        s["line"]
        for s in segments
        if s["name"] == "Independence Avenue" and first < s["line"][0][0] < last - 60
    ]
    line = [list(to_degrees(stretch[0][0])), *(list(to_degrees(part[-1])) for part in stretch)]
    properties = {
        "name": "Independence Avenue", "from_street": "Benton Boulevard", "to_street": "Hardesty Avenue",
        "start": "2023-11-29", "days": 90, "status": "treated",
    }  # fmt: skip
    note = "The stretch of the publicly reported 90-day initiative, at its approximate place."
    write_features(
        folder / "treated.geojson", [(properties, {"type": "LineString", "coordinates": line})], note
    )
    polygons = [
        ({"name": name, "approximate": True}, {"type": "Polygon", "coordinates": [ring(corners)]})
        for name, corners in NEIGHBOURHOODS.items()
    ]
    write_features(
        folder / "neighbourhoods.geojson", polygons, "Synthetic. Names in use there, outlines invented."
    )


def write_businesses(folder, segments, anchors, owners):
    """Sixty businesses that do not exist, along the main streets."""
    random = np.random.RandomState(SEED + 70)
    main = [k for k, s in enumerate(owners) if segments[s]["road_class"] in ("primary", "secondary")]
    main = [k for k in main if inside_area(anchors[k][None, :])[0]]
    firsts = ("Blue Heron", "Maple Leaf", "Two Rivers", "Copper Kettle", "Old Bluff", "Corner Lamp", "Red Brick",
              "Sunrise", "Night Owl", "Four Winds", "Silver Bell", "Gold Finch")  # fmt: skip
    seconds = ("Market", "Laundry", "Tire Shop", "Cafe", "Hardware")
    places = random.choice(len(main), 60, replace=False)
    rows = []
    for k, place in enumerate(places):
        longitude, latitude = to_degrees(anchors[main[place]] + random.normal(0, 8, 2))
        name = f"{firsts[k % 12]} {seconds[k // 12]}"
        rows.append({"name": name, "latitude": f"{latitude:.6f}", "longitude": f"{longitude:.6f}"})
    write_rows(folder / "businesses.csv", ("name", "latitude", "longitude"), rows)


def write_truth(folder, points_of, cuts, requests, ledger, segments):
    """What is true of the city, for tests and for readers who like to check."""
    factors = []
    for name, law in FACTORS.items():
        subs = [s for group in law["types"].values() for s in group]
        factors.append({
            "factor": name, "active": law["kind"] is not None, "kind": law["kind"],
            "influence_m": None if law["influence_m"] is None else round(law["influence_m"], 2),
            "rrv": law["rrv"], "n_places": len(points_of[name]),
            "density_cut_per_m2": cuts.get(name),
            "where": "issue_sub_type in (" + ", ".join(f"'{s}'" for s in subs) + ")",
        })  # fmt: skip
    truth = {
        "about": "Synthetic. No record is real.",
        "seed": SEED,
        "block_length_m": BLOCK,
        "factors": factors,
        "incidents": {
            "outcome": "IBRS in ('13A', '120', '09A')", "period": "2022-01-01/2024-12-31",
            "expected_inside": EXPECTED_VIOLENT, "year_shares": dict(zip(map(str, YEARS), YEAR_SHARES, strict=True)),
            **ledger,
        },
        "requests": {"period": f"{REPORTS_FROM}/{REPORTS_TO}", **requests},
        "intensity": {
            "law": "Poisson at two places of every block (a quarter from either end): half the block's length x "
                   "road multiplier x product of the RRVs of the factors the place is exposed to x exp(noise - variance / 2)",
            "exposure": "proximity: nearest reported place at most influence_m away; density: quartic kernel density of "
                        "radius influence_m above density_cut_per_m2, its mean + 2 SD over points half a block apart",
            "road_multipliers": ROAD_MULTIPLIERS,
            "noise": {"law": "Gaussian, covariance variance x exp(-distance / range_m), the same in all years",
                      "variance": NOISE_VARIANCE, "range_m": NOISE_RANGE},
            "factors_change_over_time": False,
        },
        "treatment": {"street": "Independence Avenue", "start": "2023-11-29", "days": 90, "rate_ratio": 1.0,
                      "note": "nothing happens: an evaluation that finds an effect is wrong"},
        "n_street_segments": len(segments),
    }  # fmt: skip
    text = json.dumps(truth, indent=1, sort_keys=True, allow_nan=False)
    (folder / "truth.json").write_text(text + "\n", encoding="utf-8", newline="\n")


README = """\
# The sample: a Kansas City north-east that never was

**No record here is real.** Every incident, report, business and outline was drawn by `generate.py`; names of streets and
neighbourhoods are those in use around Independence Avenue, at approximate places. The files have the columns, spellings and faults of
the public ones, so that whatever reads these reads those. Race, sex and age hold one placeholder (`X`, `0`) throughout.

| file | what | origin and unit |
|---|---|---|
| `boundary.geojson` | study area, about 5 x 3.5 km, with a park as a hole (approximate) and a sliver hole smaller than a cell | synthetic; degrees, EPSG:4326 |
| `streets.geojson` | `name`, `road_class`; split at every crossing | names real, places approximate, grid invented |
| `treated.geojson` | Independence Avenue, Benton Boulevard to Hardesty Avenue: `start`, `days`, `status` | publicly reported initiative, approximate line |
| `neighbourhoods.geojson` | `name`; rough outlines, for naming places | names in use, outlines invented |
| `kcpd_crime_2022.csv`, `_2023`, `_2024` | one row a person involved, the police layout of those years | synthetic; dates MM/DD/YYYY, local time |
| `requests_311.csv` | service requests of {first} to {last}, before the first incident; layout in use since March 2021 | synthetic |
| `businesses.csv` | `name`, `latitude`, `longitude` of sixty invented businesses, to score | synthetic; degrees |
| `truth.json` | which factors matter, how far, how much; noise; what is wrong with the files, counted | the truth |
| `generate.py` | writes all of these, this page too | |
| `study.toml` | the study of these files, for `rtmkc run` | written by hand |

What is put wrong on purpose: reports with several rows, some of them without a place; no location (3 %); a place in Florida; withheld
places; junk dates; reports repeated in the next year's file; 311 requests cancelled, doubled, without a place, at the false origin.

What is true: poor lighting (street lights out), vacant houses and illegal dumping raise violence; overgrown shrubs and health
violations do not; the 90-day initiative changed nothing. Main streets have more of it for a reason no file shows, and mild noise, the
same in all years, makes some places worse than their surroundings. The city was chosen: the noise was lowered once, and of six seeds
this is one in which a plain stepwise Poisson fit finds the three true factors at their true extents and no false aggravating one. In
three of the other five noise made a false factor look aggravating: one clean city proves nothing about a method. Weights fitted on
half-block cells come out somewhat below the truth (about 1.7 where it is 2.0), likely because incidents are recorded at two places
of a block while a cell is judged by its centre.

Regenerate with `python generate.py` (numpy is all it needs): every byte comes out the same. Files are UTF-8, lines end with LF.
Licence: MIT, as the project; the data are also dedicated to the public domain (CC0 1.0).

| file | bytes | sha256 |
|---|---:|---|
{table}
"""


def write_readme(folder, names):
    """The page beside the files, with the hash of each."""
    lines = []
    for name in names:
        path = Path(__file__) if name == "generate.py" else folder / name
        content = path.read_bytes()
        lines.append(f"| `{name}` | {len(content)} | `{hashlib.sha256(content).hexdigest()}` |")
    text = README.format(table="\n".join(lines), first=REPORTS_FROM, last=REPORTS_TO)
    (folder / "README.md").write_text(text, encoding="utf-8", newline="\n")


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    segments = build_streets()
    anchors, owners, lengths = build_anchors(segments)
    points_of = {name: build_points(name, segments, anchors) for name in FACTORS}
    requests, request_faults = build_requests(points_of, segments, anchors, owners)
    intensity, cuts = violent_intensity(segments, anchors, owners, lengths, points_of)
    incidents = draw_incidents(intensity, segments, anchors, owners)
    crime, ledger = build_crime(incidents, segments, anchors, owners)
    write_shapes(folder, segments)
    for year in YEARS:
        write_rows(folder / f"kcpd_crime_{year}.csv", CRIME_COLUMNS, crime[year])
    write_rows(folder / "requests_311.csv", REQUEST_COLUMNS, requests)
    write_businesses(folder, segments, anchors, owners)
    write_truth(folder, points_of, cuts, request_faults, ledger, segments)
    names = ["boundary.geojson", "businesses.csv", "generate.py", *(f"kcpd_crime_{year}.csv" for year in YEARS),
             "neighbourhoods.geojson", "requests_311.csv", "streets.geojson", "treated.geojson", "truth.json"]  # fmt: skip
    write_readme(folder, names)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
