class StackError(RuntimeError):
    """The embedded stack cannot start; the message is one line that a person can act on."""


class FolderBusyError(StackError):
    """Another process runs a stack in this folder."""


class StartError(StackError):
    """A program did not become ready; the message ends with the last lines of its log."""
