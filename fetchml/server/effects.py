"""Which part carries out each effect of the core's decisions."""

from fetchml.attempts.manager import AttemptManager
from fetchml.core.events import (
    CheckGpus,
    Deliver,
    DiscardAttempt,
    LimitAttempt,
    OpenGate,
    RunAttempt,
    StopAttempt,
)
from fetchml.engine.dispatcher import Dispatcher
from fetchml.engine.gpus.gpus import Gpus
from fetchml.notifications.sender import Sender


def carry_out(dispatcher: Dispatcher, attempts: AttemptManager, gpus: Gpus, sender: Sender) -> None:
    dispatcher.handle(RunAttempt, attempts.run)
    dispatcher.handle(StopAttempt, attempts.stop)
    dispatcher.handle(LimitAttempt, attempts.limit)
    dispatcher.handle(OpenGate, attempts.open_gate)
    dispatcher.handle(DiscardAttempt, attempts.discard)
    dispatcher.handle(CheckGpus, gpus.check)
    dispatcher.handle(Deliver, sender.deliver)
