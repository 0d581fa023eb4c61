"""How numbers are written for people: the only place where a fraction becomes per cent."""

Range = tuple[float, float]

ABSENT = "-"


def percent(fraction: float | None, digits: int = 2) -> str:
    """A fraction of 1 in per cent without the sign: 0.9339 is `93.39`; None is `-`."""
    return ABSENT if fraction is None else f"{_hundredths(fraction, digits):.{digits}f}"


def points(difference: float | None, digits: int = 2) -> str:
    """A difference of fractions in percentage points with its sign: 0.0042 is `+0.42`."""
    return ABSENT if difference is None else f"{_hundredths(difference, digits):+.{digits}f}"


def _hundredths(fraction: float, digits: int) -> float:
    """100 times as much, rounded; what rounds to nothing from below has no minus: no `-0.00`."""
    return round(100 * fraction, digits) + 0.0


def percent_range(low: float, high: float) -> str:
    """An interval of fractions in per cent: `92.88-93.86`."""
    return f"{percent(low)}-{percent(high)}"


def points_range(low: float, high: float) -> str:
    """An interval of differences in percentage points: `-0.10 to +0.94`."""
    return f"{points(low)} to {points(high)}"


def mean_and_sd(mean: float, sd: float | None) -> str:
    """A mean of fractions and its standard deviation in per cent: `90.06 ± 0.08`."""
    return percent(mean) if sd is None else f"{percent(mean)} ± {percent(sd)}"


def seeds(number: int) -> str:
    """How many seeds: `1 seed`, `3 seeds`."""
    return f"{number} seed" + ("s" if number > 1 else "")


def amount(number: int) -> str:
    """A large count with three digits that matter: `290 k`, `2.24 M`, `1.30 G`."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor * 0.9995:
            value = number / factor
            digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
            return f"{value:.{digits}f} {unit}"
    return str(number)


def size(size_bytes: float) -> str:
    """A number of bytes in binary units: `512 B`, `1.5 KiB`, `170.5 MiB`."""
    value, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1000 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """A time span in the unit that suits it: `4.2 s`, `42 s`, `5.2 min`, `1.4 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3597 else f"{seconds / 3600:.1f} h"


def clock(seconds: float) -> str:
    """A time span as a clock counts it down: `0:42`, `12:05`, `1:02:03`."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
