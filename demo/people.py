"""Who lives in the demo market. Every e-mail ends in jiga.test, every password is the one of `demo.seed`."""

from __future__ import annotations

from typing import NamedTuple

from domain.users import Role


class Person(NamedTuple):
    """`bought` are the SKUs of the packages that a player has paid for, oldest first."""

    key: str
    name: str
    nationality: str
    timezone: str
    bought: tuple[str, ...] = ()
    role: Role = Role.USER

    @property
    def email(self) -> str:
        return f"{self.key}@jiga.test"


BRONZE, SILVER, GOLD = "DOF-150K-BRONZE", "DOF-500K-SILVER", "DOF-1M-GOLD"

ADMIN = Person("admin", "Alma Admin", "Swiss", "Europe/Zurich", role=Role.ADMIN)

PEOPLE = (
    Person("mona", "Mona Moderator", "Canadian", "America/Toronto", role=Role.MODERATOR),
    # creators
    Person("ada", "Ada Morales", "Mexican", "America/Mexico_City"),
    Person("kenji", "Kenji Sato", "Japanese", "Asia/Tokyo"),
    Person("lena", "Lena Vogt", "German", "Europe/Berlin"),
    Person("thiago", "Thiago Lima", "Brazilian", "America/Sao_Paulo"),
    Person("amira", "Amira Haddad", "Moroccan", "Africa/Casablanca"),
    Person("sunny", "Park Sun-hee", "South Korean", "Asia/Seoul"),
    Person("oskar", "Oskar Lindqvist", "Swedish", "Europe/Stockholm"),
    Person("claire", "Claire Dubois", "French", "Europe/Paris"),
    # players
    Person("max", "Max Turner", "British", "Europe/London", (SILVER, GOLD)),
    Person("zoe", "Zoë Martin", "Belgian", "Europe/Brussels", (SILVER, BRONZE)),
    Person("ravi", "Ravi Nair", "Indian", "Asia/Kolkata", (SILVER,)),
    Person("ines", "Inés Fuentes", "Spanish", "Europe/Madrid", (GOLD,)),
    Person("piotr", "Piotr Zieliński", "Polish", "Europe/Warsaw", (SILVER,)),
    Person("mei", "陈美", "Chinese", "Asia/Shanghai", (SILVER, SILVER)),
    Person("joao", "João Pereira", "Portuguese", "Europe/Lisbon", (SILVER,)),
    Person("hana", "Hana Nováková", "Czech", "Europe/Prague", (SILVER,)),
    Person("tariq", "طارق منصور", "Egyptian", "Africa/Cairo", (GOLD,)),
    Person("emma", "Emma Johansen", "Norwegian", "Europe/Oslo", (SILVER,)),
)
