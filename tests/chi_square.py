"""Are counts what chance would make of equally likely cells?"""

from scipy.stats import chi2


def chi_square_p(counts: list[int], cells: int) -> float:
    expected = sum(counts) / cells
    statistic = sum((count - expected) ** 2 for count in counts) / expected
    statistic += (cells - len(counts)) * expected
    return float(chi2.sf(statistic, cells - 1))
