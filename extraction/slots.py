"""The default slots of a profile, and which of them hold one value only."""

from typing import Final

# Memobase's default topics, so that profiles look as its users know them.
DEFAULT_SLOTS: Final[dict[str, tuple[str, ...]]] = {
    "basic_info": ("name", "age", "gender", "birth_date", "nationality", "ethnicity", "language_spoken"),
    "contact_info": ("email", "phone", "city", "country"),
    "education": ("school", "degree", "major"),
    "demographics": ("marital_status", "number_of_children", "household_income"),
    "work": ("company", "title", "working_industry", "previous_projects", "work_skills"),
    "interest": ("books", "movies", "music", "foods", "sports"),
    "psychological": ("personality", "values", "beliefs", "motivations", "goals"),
    "life_event": ("marriage", "relocation", "retirement"),
}

# A newer statement replaces an older one; every other slot gathers what is said.
SINGLE_VALUED: Final[frozenset[tuple[str, str]]] = frozenset(
    {
        ("basic_info", "name"),
        ("basic_info", "age"),
        ("basic_info", "gender"),
        ("basic_info", "birth_date"),
        ("contact_info", "email"),
        ("contact_info", "phone"),
        ("contact_info", "city"),
        ("contact_info", "country"),
        ("demographics", "marital_status"),
        ("demographics", "number_of_children"),
        ("demographics", "household_income"),
        ("work", "company"),
        ("work", "title"),
    }
)
