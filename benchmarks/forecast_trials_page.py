"""The words of docs/reference/forecast-trials.md; `forecast_trials.py` fills in the figures."""

TEMPLATE = """# Forecast trials: what was tried, and what was kept

Everything here was developed on Chicago (aggravated assaults of 2017 from those before, 125 m cells; burglaries of 2017 by
random halves) and confirmed on Kansas City (violence of October to December 2017 from January to September, 75 m
cells). *Nats*: mean over held-out incidents of log(forecast / uniform). Differences below .005 (thousands of incidents) or
.02 (hundreds) are ties. "Training data" means: parts of the training period predicted from other parts of it. The Chicago factors
are reports of 2017: contemporaneous, so gains of factors there are not those of a forecast.

{made}

## Kept

### Several years, weights of ages, hot cells

Tempering, strengths and tau (incidents weigh exp(-age / tau)) are fitted by predicting the last 365 days from those before
them where there are three years or more, and each half of the period from the other where there are fewer. A second kind of cell,
hot ones, enters if it raises that log likelihood by more than 10; all parameters then move together, starting from the plain
solution. *Published* are the figures this design rests on. Held-out assaults of 2017:

{windows}

Hot cells let the environment be tempered less (gamma grows): a few addresses with very many incidents no longer have to be
bought with a weaker prior for all cells. Fitted with the other parameters held, they gain less.

Weights say where, not how many. The level is that of the last 365 days from three years on, and that of the whole period below:

{levels}

### Widths in metres

Training data only, nats; 4 cells and 1 cell are 500 m and 125 m on cells of 125 m:

{widths}

500 m and 125 m are kept. A third, wider and narrower kernel is ahead by about .005 on Kansas City and by less on Chicago, a tie, at about twice the
time; `history_widths` takes it. Assaults of 2017 forecast on cells of 62.5 m, summed to cells of 125 m:

{halved}

### What the factors add, told by the fit itself

Everything is fitted anew to the first part of the period, with and without factors, and scores the rest (`gain_over_history_`); beside
it the same difference on incidents after the period. 95 % intervals by resampling blocks of 1.5 km:

{gains}

### Intervals

90 % intervals of a cell's count. *Drift* is the variance of a further multiplier of every rate, fitted to the parts of the training period
that were predicted from others, at the level of their past. Coverage %, **without / with drift (what such whole-number intervals hold if the
model is true)**; cells by rank of what is expected:

{intervals}

(Simulated cities: with drift only.) Over a quarter counts of a cell are so small that chance covers most. Over a year intervals without drift
fall short in the busiest cells: what their own history does not tell adds up. With drift the stated 90 % holds for single cells, also for the
busiest in two hundred, in every period here. It is not said of sums over cells: cells err together when the city's level moves, as the column
of expected and observed shows. Nor do intervals know of a change that the training period has not seen.

## Tried and not kept

**The base out of fold.** The curves have seen the incidents that tempering and strengths are fitted to. Burglaries, held-out halves;
parameters, and then the surface too, from curves fitted without the cell's own fold of blocks:

{bases}

It does not matter for curves, to .001 either way, and would cost five more fits. Bases fitted to the earlier part alone gave the assaults of
2017 the same four decimals, from one, two, three and six years (measured apart from this script).

**Curves fitted again, given history**, or to counts weighted by age. Assaults of 2017:

{curves}

**Hour and day.** One surface for all hours, against surfaces learned from incidents of the part alone; change of nats on the assaults of 2017:

{clock}

A part of the day has too few incidents for a map of its own; one map and the city's profile of hours are better.

**Exposure** (Chicago has no such layer at hand). {exposure}
A tie, and a place's own history knows how busy it is.

**Widths along streets** were not tried: neither city's street network is at hand.

## Confirmed on Kansas City

Violence of October to December 2017, nats (731 incidents: .02 is a tie). These figures were seen four times or more while the recipe grew, when speed
was measured; nothing was chosen by them:

{confirmed}

## Cost

Processor time of `RiskForecast.fit`, measured factors given, with the gain over history: {seconds}.
"""
