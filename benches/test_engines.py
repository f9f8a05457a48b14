"""python3 -m unittest discover benches"""

import socket
import tempfile
import threading
import unittest
from pathlib import Path

import engines

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Http(unittest.TestCase):
    def serve(self, *connections):
        """Listens; each connection gets the answers given for it and is then closed."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = str(Path(directory.name) / "api.sock")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        self.addCleanup(listener.close)

        def work():
            for answers in connections:
                connection, _ = listener.accept()
                for answer in answers:
                    connection.recv(1 << 16)
                    connection.sendall(answer)
                connection.close()
                self.closed.set()
            listener.close()

        self.closed = threading.Event()
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 10)
        return engines.Http(path, "/", "/{name}")

    def test_a_connection_that_was_closed_while_idle(self):
        http = self.serve([ANSWER, ANSWER], [ANSWER])
        self.assertEqual(http.list(), b"ok")
        self.assertEqual(http.list(), b"ok")
        self.closed.wait(10)
        self.assertEqual(http.list(), b"ok")
        http.close()

    def test_an_answer_that_ends_early_is_an_error(self):
        http = self.serve([ANSWER, ANSWER[:-1]])
        self.assertEqual(http.list(), b"ok")
        with self.assertRaises(EOFError):
            http.list()

    def test_nobody_there_is_an_error(self):
        with self.assertRaises(OSError):
            engines.Http("/nonexistent/api.sock", "/", "/").list()


if __name__ == "__main__":
    unittest.main()
