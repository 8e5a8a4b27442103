"""A small SMTP server for tests, which keeps the e-mails that it takes."""

import socketserver
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from threading import Thread


class MailServer(socketserver.ThreadingTCPServer):
    """Answer the commands of SMTP, each with `250 OK` unless `answers` has something else.

    The key "." of `answers` is the end of an e-mail. An answer may be a function, which is called
    first.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.port: int = self.server_address[1]
        self.url = f"smtp://127.0.0.1:{self.port}"
        self.taken: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.answers: dict[str, str | Callable[[], str]] = {}

    def answer(self, command: str) -> str:
        answer = self.answers.get(command, {"DATA": "354 Go on", "QUIT": "221 Bye"}.get(command))
        return answer() if callable(answer) else answer or "250 OK"


class _Session(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self._say(self.server.answer("CONNECT").replace("250", "220"))
        for line in self.rfile:
            command = line.split(maxsplit=1)[0].upper().decode()
            if command == "RCPT":
                self.server.recipients.append(line.decode().partition(":")[2].strip(" <>\r\n"))
            answer = self.server.answer(command)
            self._say(answer)
            if command == "DATA" and answer.startswith("354"):
                self._take()
            if command == "QUIT":
                return

    def _take(self) -> None:
        lines = iter(self.rfile.readline, b".\r\n")
        content = b"".join(line.removeprefix(b".") for line in lines)
        message = message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.server.taken.append(message)
        self._say(self.server.answer("."))

    def _say(self, answer: str) -> None:
        self.wfile.write(f"{answer}\r\n".encode())


def text_of(message: EmailMessage) -> str:
    """Return the text of an e-mail that has a single part."""
    return str(message.get_content())


@contextmanager
def running_mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        # The default of half a second would be how long each shutdown takes.
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
