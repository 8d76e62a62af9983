"""The account with the service as an owner may know it: the balance, what was spent, and the profiles there are."""

from datetime import timedelta

from api.auth import Caller
from api.schemas import CreditsShown, SkillShown, SkillsShown, SpentShown
from api.service import Here
from reelq.store import spending
from reelq.store.standing import standing


def show_credits(here: Here, caller: Caller) -> CreditsShown:
    """The balance as it was read last, and what your batches have spent."""
    known = standing(here.store, here.settings)
    with here.store.read() as session:
        now = here.store.now(session)
        since = {"day": now - timedelta(days=1), "week": now - timedelta(days=7), "all": None}
        spent = {name: spending.of_owner(session, caller.owner, moment) for name, moment in since.items()}
    return CreditsShown.of(known, SpentShown(**spent))


def list_skills(here: Here, caller: Caller) -> SkillsShown:
    """The profiles that a row can ask for."""
    return SkillsShown(items=[SkillShown.model_validate(one) for one in here.skills.values()])
