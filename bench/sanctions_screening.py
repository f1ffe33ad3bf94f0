"""How well and how fast sanctions screening is: ``python -m bench.sanctions_screening``.

Prints recall and precision by threshold and by kind of difference, for 50,000 synthetic
people and a list of 4,000 entries. The same people each time.
"""

import time
from collections import Counter

from reporting_jobs.screening import Screening
from tests.screening_people import corpus

THRESHOLDS = (80, 84, 86, 88, 90, 92, 94, 96)


def main() -> None:
    made = corpus(people=50_000, entries=4_000, planted=300)
    started = time.perf_counter()
    screening = Screening(made.entries, THRESHOLDS[0])
    built = time.perf_counter() - started
    started = time.perf_counter()
    found = [
        (person, screening.hits(person.name, () if person.born is None else (person.born,)))
        for person in made.people
    ]
    took = time.perf_counter() - started
    planted = [person for person in made.people if person.entry is not None]
    print(f"{len(made.people)} people, {len(made.entries)} entries, {len(planted)} planted")
    print(f"index {built:.1f} s, screening {took:.1f} s, {len(made.people) / took:.0f} people/s")
    print("threshold | recall | precision | false hits | namesakes hit")
    for threshold in THRESHOLDS:
        right = wrong = namesakes = 0
        for person, hits in found:
            for entry, score in hits:
                if score >= threshold:
                    right += entry == person.entry
                    wrong += entry != person.entry
                    namesakes += person.kind == "namesake"
        recall, precision = right / len(planted), right / max(1, right + wrong)
        print(f"{threshold} | {recall:.4f} | {precision:.4f} | {wrong} | {namesakes}")
    for threshold in (86, 88, 90):
        kinds = Counter(person.kind for person in planted)
        hit = Counter(
            person.kind
            for person, hits in found
            if any(e == person.entry and score >= threshold for e, score in hits)
        )
        print(threshold, "; ".join(f"{kind} {hit[kind] / n:.3f}" for kind, n in kinds.items()))


if __name__ == "__main__":
    main()
