"""The account as an owner sees it: the balance, what the owner has spent, and the available skills."""

from datetime import timedelta

from api.deps import Caller, Here
from api.schemas import CreditsShown, SkillShown, SkillsShown, SpentShown
from reelq.store.billing import spending
from reelq.store.queries.account import account_state


def show_credits(here: Here, caller: Caller) -> CreditsShown:
    """The balance at its last reading, and what your batches have spent."""
    account = account_state(here.store, here.settings)
    with here.store.read() as session:
        now = here.store.now(session)
        since = {"day": now - timedelta(days=1), "week": now - timedelta(days=7), "all": None}
        spent = {name: spending.of_owner(session, caller.owner, moment) for name, moment in since.items()}
    return CreditsShown.of(account, SpentShown(**spent))


def list_skills(here: Here, caller: Caller) -> SkillsShown:
    """The skills that a row can use."""
    return SkillsShown(items=[SkillShown.model_validate(one) for one in here.skills.values()])
