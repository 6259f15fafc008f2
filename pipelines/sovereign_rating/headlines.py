"""Headlines: up to 64 words, whose choice depends on the tone of the country's news that month.

Words come of one distribution for all (Zipf 1949), but where a headline is on the economy and the
month has a tone, some come of that tone's words. A word's chance has a closed form, and so has that
of a whole headline: `add_evidence`. Names of countries are left out: no word stands for one.
"""

from dataclasses import dataclass

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.core.hashing import GOLDEN, mix
from ooc.core.random_keys import Purpose, generator, key
from pipelines.sovereign_rating.world import TONES, World

LENGTH, SHORTEST = 64, 16  # words of a headline
PADDING = 0  # the id behind a headline's last word
GENERAL = 6000  # words
TONE_WORDS = 256  # of each tone, among all
ON_ECONOMY = 0.7  # of headlines
TONE_SHARE = 0.2  # of the words of such a headline, where the month has a tone
SIXTEEN_BITS = 1 << 16


@dataclass(frozen=True)
class Wording:
    """Which words are said how often.

    Attributes
    ----------
    vocabulary
        Ids of words are 1 to vocabulary - 1.
    general
        (65536,) uint16, the word that each 16 random bits stand for: its chance to the last bit.
    tones
        (tones, 256) uint16, the words of each tone; those of the first, neutral, are not used.
    log_ratio
        (tones, vocabulary) float64, how much likelier a word is in a headline of that tone.
    """

    vocabulary: int
    general: np.ndarray
    tones: np.ndarray
    log_ratio: np.ndarray


def make_wording(seed: int) -> Wording:
    """Draw the words of tones; common words and rare ones are never among them."""
    chances = 1 / (np.arange(GENERAL) + 10.0)
    ends = np.cumsum(chances) / chances.sum()
    ranks = np.searchsorted(ends, (np.arange(SIXTEEN_BITS) + 0.5) / SIXTEEN_BITS)
    rng = generator(seed, Purpose.TRUTH, index=1)
    general = (1 + rng.permutation(GENERAL)[ranks]).astype(np.uint16)
    said = np.bincount(general, minlength=GENERAL + 1) / SIXTEEN_BITS
    middling = np.argsort(-said[1:])[50:2000] + 1
    tones = np.stack([rng.choice(middling, TONE_WORDS, False) for _ in TONES]).astype(np.uint16)
    vocabulary = 1 + GENERAL
    log_ratio = np.zeros((len(TONES), vocabulary))
    for tone in range(1, len(TONES)):
        ratio = np.full(vocabulary, 1 - TONE_SHARE)
        ratio[tones[tone]] += TONE_SHARE / TONE_WORDS / said[tones[tone]]
        ratio[PADDING] = 1.0
        log_ratio[tone] = np.log(ratio)
    return Wording(vocabulary, general, tones, log_ratio)


def draw_headlines(
    world: World, wording: Wording, countries: np.ndarray, months: np.ndarray, numbers: np.ndarray
) -> np.ndarray:
    """Return headlines (rows, 64) uint16, each a function of country, month and number.

    Parameters
    ----------
    countries, months, numbers
        (rows,) int64; the number of the headline among those of the month.
    """
    tokens = np.empty((len(numbers), LENGTH), np.uint16)
    _draw(
        key(world.seed, Purpose.DATA, index=2), countries * world.months + months, numbers,
        world.tones[countries, months], wording.general, wording.tones, tokens,
    )  # fmt: skip
    return tokens


@exact_kernel
def _draw(
    base: int,
    places: np.ndarray,
    numbers: np.ndarray,
    tones: np.ndarray,
    general: np.ndarray,
    toned: np.ndarray,
    out: np.ndarray,
) -> None:
    tone_limit = np.uint64(TONE_SHARE * 65536)
    economy_limit = np.uint64(ON_ECONOMY * 65536)
    low, sixteen = np.uint64(65535), np.uint64(16)
    for row in range(out.shape[0]):
        month_key = mix(np.uint64(base) + np.uint64(places[row] + 1) * GOLDEN)
        row_key = mix(month_key + np.uint64(numbers[row] + 1) * GOLDEN)
        on_economy = (row_key & low) < economy_limit and tones[row] > 0
        length = SHORTEST + np.int64((row_key >> sixteen) & low) * (LENGTH - SHORTEST + 1) // 65536
        for place in range(LENGTH):
            if place >= length:
                out[row, place] = PADDING
                continue
            bits = mix(row_key + np.uint64(place + 1) * GOLDEN)
            word = np.int64(bits & low)
            if on_economy and ((bits >> sixteen) & low) < tone_limit:
                out[row, place] = toned[tones[row], word % TONE_WORDS]
            else:
                out[row, place] = general[word]


@exact_kernel
def add_evidence(
    tokens: np.ndarray, places: np.ndarray, log_ratio: np.ndarray, out: np.ndarray
) -> None:
    """Add how much likelier each headline is under each tone than under none.

    Parameters
    ----------
    tokens
        (rows, 64) uint16.
    places
        (rows,) int64, the row of `out` that each belongs to.
    log_ratio
        See `Wording`.
    out
        (months of countries, tones) float64.
    """
    for row in range(tokens.shape[0]):
        for tone in range(1, log_ratio.shape[0]):
            total = 0.0
            for place in range(tokens.shape[1]):
                total += log_ratio[tone, tokens[row, place]]
            # Whether it is on the economy is not known.
            out[places[row], tone] += np.log(ON_ECONOMY * np.exp(total) + 1 - ON_ECONOMY)
