"""What a message's task does once its stage has been dealt with."""

from enum import StrEnum


class Ending(StrEnum):
    """How a task ends, for the chain that it is a link of."""

    GO_ON = "the chain's next message goes out"
    DONE = "the stage is done, and what follows is not due yet: the lifeline publishes it when it is"
    STOP = "the chain ends here; if there is more to do, the lifeline publishes it"
    LATER = "the same, told as a retry"
