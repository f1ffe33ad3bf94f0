"""Synthetic people and a list that some of them are on, spelled otherwise.

Nobody here exists: names are drawn at random from mimesis and from the tables below, which
give common names in their own script with the spellings in use (passports, newspapers), so
that what is measured is not the transliteration that the code under test uses itself.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from itertools import product
from typing import Final

from mimesis import Locale, Person

from reporting_jobs.sanctions_list import ListEntry

_LOCALES: Final = (
    *(Locale.EN, Locale.EN, Locale.DE, Locale.FR, Locale.ES, Locale.PL, Locale.TR),
    *(Locale.RU, Locale.EL, Locale.AR_EG),
)

# One line a name: its own script, then the Latin spellings.
_CYRILLIC: Final = (
    """Александр Alexander Aleksandr|Дмитрий Dmitry Dmitri Dmitriy|Сергей Sergey Sergei Serguei
Юрий Yuri Yury Iurii|Владимир Vladimir Wladimir|Евгений Evgeny Yevgeny Evgenii
Михаил Mikhail Michail|Андрей Andrey Andrei|Алексей Alexey Aleksei|Николай Nikolay Nikolai
Татьяна Tatiana Tatyana|Наталья Natalia Natalya|Ольга Olga|Екатерина Ekaterina Yekaterina
Геннадий Gennady Gennadi|Вячеслав Vyacheslav Viacheslav|Анатолий Anatoly Anatoli
Фёдор Fedor Fyodor|Игорь Igor|Ксения Ksenia Xenia""",
    """Щербаков Shcherbakov Scherbakov|Хрущёв Khrushchev Khrushchyov|Жуков Zhukov Joukov
Цветков Tsvetkov Cvetkov|Чайковский Tchaikovsky Chaikovsky|Соловьёв Solovyov Solovyev Soloviev
Горбунов Gorbunov Gorbunow|Яковлев Yakovlev Iakovlev|Юдин Yudin Iudin|Шевченко Shevchenko
Рахманов Rakhmanov Rachmanov|Захарченко Zakharchenko|Мельниченко Melnichenko Melnychenko
Ефремов Efremov Yefremov|Афанасьев Afanasyev Afanasiev|Кузнецов Kuznetsov Kuznecov
Бородин Borodin|Лукьяненко Lukyanenko Lukianenko|Ярошенко Yaroshenko Iaroshenko
Воробьёв Vorobyov Vorobiev""",
)
_ARABIC: Final = (
    """محمد Mohammed Muhammad Mohamed|أحمد Ahmed Ahmad|يوسف Yusuf Youssef Yousef|خالد Khaled Khalid
إبراهيم Ibrahim Ebrahim|عبدالرحمن Abdulrahman Abdelrahman|طارق Tariq Tarek|حسين Hussein Husayn
مصطفى Mustafa Moustafa|سليمان Suleiman Sulayman|عمر Omar Umar|فاطمة Fatima Fatimah
محمود Mahmoud Mahmud|جمال Jamal Djamal|بلال Bilal|رشيد Rashid Rasheed|نور Nour Noor
كريم Karim Kareem|سعيد Said Saeed|وليد Walid Waleed""",
    """الحسيني al-Husseini Alhusayni|القاسمي al-Qasimi Al-Kasimi|البغدادي al-Baghdadi Albaghdadi
الشريف al-Sharif Alsherif|الخطيب al-Khatib Elkhatib|المصري al-Masri Elmasry|النجار al-Najjar Alnajar
الحداد al-Haddad Elhadad|الزهراني al-Zahrani Alzahrany|الدوسري al-Dosari Aldossary
منصور Mansour Mansur|درويش Darwish Darwich|بركات Barakat|سلامة Salama Salameh|حمدان Hamdan
العتيبي al-Otaibi Alutaybi|الغامدي al-Ghamdi Alghamdi|السيد al-Sayed Elsayyid
الطيب al-Tayeb Altayib|شاهين Shahin Shaheen""",
)
_GREEK: Final = (
    """Γεώργιος Georgios Yeorgios|Κωνσταντίνος Konstantinos Constantinos
Δημήτριος Dimitrios Demetrios
Ιωάννης Ioannis Yannis|Νικόλαος Nikolaos Nicolaos|Παναγιώτης Panagiotis Panayiotis
Βασίλειος Vasileios Vassilios|Χρήστος Christos Hristos|Αικατερίνη Aikaterini Ekaterini
Ευάγγελος Evangelos Evaggelos|Σπυρίδων Spyridon Spiridon|Θεόδωρος Theodoros Theodhoros
Ελένη Eleni Heleni|Στυλιανός Stylianos Stilianos|Αντώνιος Antonios|Μιχαήλ Michail Mihail
Φώτιος Fotios Photios|Λεωνίδας Leonidas|Ηλίας Ilias Elias|Ξένη Xeni Kseni""",
    """Παπαδόπουλος Papadopoulos Papadopulos|Οικονόμου Oikonomou Economou|Γιαννόπουλος Giannopoulos
Χατζής Chatzis Hatzis|Μπακάλης Bakalis Mpakalis|Αγγελόπουλος Angelopoulos Aggelopoulos
Βλάχος Vlachos Vlahos|Καραγιάννης Karagiannis Karayannis|Ντούσκας Douskas Ntouskas
Ξενάκης Xenakis Ksenakis|Ψαράς Psaras|Φωτόπουλος Fotopoulos Photopoulos|Θεοδωρίδης Theodoridis
Κυριακίδης Kyriakidis Kiriakidis|Σταματόπουλος Stamatopoulos|Ζαχαριάδης Zachariadis Zahariadis
Γκίκας Gkikas Gikas|Τριανταφύλλου Triantafyllou Triantafillou|Ευθυμίου Efthymiou Efthimiou
Αλεξίου Alexiou Alexiu""",
)
SCRIPTS: Final = {"cyrillic": _CYRILLIC, "arabic": _ARABIC, "greek": _GREEK}


@dataclass(frozen=True, slots=True)
class Someone:
    """A person of the vault; ``kind`` says how they differ from their entry, if they have
    one."""

    subject: str
    name: str = field(repr=False)
    born: date | None = field(repr=False)
    kind: str = ""
    entry: str | None = None


@dataclass(frozen=True, slots=True)
class Corpus:
    """People and the list."""

    people: Sequence[Someone]
    entries: Sequence[ListEntry]


def corpus(people: int, entries: int, planted: int, seed: int = 20260301) -> Corpus:
    """``people`` of whom ``planted`` of each kind are on the list of ``entries``, and as
    many again only share a name with someone there."""
    return _Maker(seed).corpus(people, entries, planted)


class _Maker:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._persons = [Person(locale, seed=seed + at) for at, locale in enumerate(_LOCALES)]
        self._tables = {
            script: [_table(text) for text in tables] for script, tables in SCRIPTS.items()
        }
        # Each pair of names once: people who only share a name are planted on purpose.
        self._pairs = {
            script: self._random.sample(list(product(*tables)), len(tables[0]) * len(tables[1]))
            for script, tables in self._tables.items()
        }

    def corpus(self, people: int, entries: int, planted: int) -> Corpus:
        kinds: dict[str, Callable[[], tuple[str, str]]] = {
            "same": lambda: self._changed(lambda name: name),
            "typo": lambda: self._changed(self._typo),
            "two typos": lambda: self._changed(lambda name: self._typo(self._typo(name))),
            "swapped": lambda: self._changed(lambda name: " ".join(reversed(name.split()))),
            "no middle name": self._middle,
            **{script: partial(self._script, script) for script in SCRIPTS},
        }
        listed: list[ListEntry] = []
        found: list[Someone] = []
        for kind, pair in kinds.items():
            for _ in range(planted):
                written, known = pair()
                entry = self._entry(len(listed), written)
                listed.append(entry)
                born = self._born_like(entry)
                found.append(Someone(self._subject(), known, born, kind, entry.id))
        for entry in listed[:]:
            if entry.dates and self._random.random() < 0.25:
                other = self._elsewhen(next(iter(entry.dates)))
                found.append(Someone(self._subject(), entry.names[0], other, "namesake"))
        listed += [
            self._entry(at, self._name()) for at in range(len(listed), max(entries, len(listed)))
        ]
        while len(found) < people:
            born = None if self._random.random() < 0.1 else self._date()
            found.append(Someone(self._subject(), self._name(), born))
        self._random.shuffle(found)
        return Corpus(found, listed)

    def _changed(self, change: Callable[[str], str]) -> tuple[str, str]:
        name = self._latin_name()
        return name, change(name)

    def _middle(self) -> tuple[str, str]:
        first, last = self._latin_name().split(" ", 1)
        middle = self._persons[0].first_name()
        whole, short = f"{first} {middle} {last}", f"{first} {last}"
        return (whole, short) if self._random.random() < 0.5 else (short, whole)

    def _script(self, script: str) -> tuple[str, str]:
        first, last = self._pairs[script].pop()
        native = f"{first[0]} {last[0]}"
        latin = f"{self._random.choice(first[1:])} {self._random.choice(last[1:])}"
        return (latin, native) if self._random.random() < 0.5 else (native, latin)

    def _entry(self, number: int, name: str) -> ListEntry:
        entry = ListEntry(f"LIST-{number:05}", [name])
        draw = self._random.random()
        if draw < 0.7:
            entry.dates.add(self._date())
        elif draw < 0.85:
            entry.years.add(self._date().year)
        return entry

    def _born_like(self, entry: ListEntry) -> date | None:
        """The person's birth date as the vault has it: mostly right, some with a slip of the
        pen, some not known."""
        draw = self._random.random()
        if draw < 0.1:
            return None
        if not entry.dates:
            year = next(iter(entry.years), self._date().year)
            return self._date().replace(year=year, day=1)
        born = next(iter(entry.dates))
        if draw < 0.2:
            return born.replace(day=born.day % 9 + 1 + born.day // 10 * 10 if born.day < 20 else 20)
        if draw < 0.25 and born.day <= 12:
            return date(born.year, born.day, born.month)
        return born

    def _typo(self, name: str) -> str:
        places = [at for at in range(1, len(name) - 1) if name[at - 1 : at + 2].isalpha()]
        at = self._random.choice(places)
        letter = self._random.choice("abcdefghijklmnopqrstuvwxyz")
        return self._random.choice(
            (
                name[:at] + name[at + 1 :],
                name[:at] + letter + name[at + 1 :],
                name[:at] + letter + name[at:],
                name[:at] + name[at + 1] + name[at] + name[at + 2 :],
            )
        )

    def _latin_name(self) -> str:
        person = self._persons[self._random.randrange(5)]
        return f"{person.first_name()} {person.last_name().split()[-1]}"

    def _name(self) -> str:
        person = self._random.choice(self._persons)
        return f"{person.first_name()} {person.last_name()}"

    def _date(self) -> date:
        return date(1935, 1, 1) + timedelta(days=self._random.randrange(365 * 70))

    def _elsewhen(self, born: date) -> date:
        return born + timedelta(days=self._random.choice((-1, 1)) * (4000 + born.day * 37))

    def _subject(self) -> str:
        return f"cus_{self._random.randrange(10**12):012}"


def _table(text: str) -> list[list[str]]:
    return [name.split() for name in _cells(text)]


def _cells(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield from line.split("|")
