"""The coordinator's binary in a folder of its own, driven as an operator does it: by its command line and by Admin."""
import json
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

from wire import Line, messages

STARTS_WITHIN_SECONDS = 60


class Coordinator:
    def __init__(self, binary):
        self.binary = binary
        self.folder = tempfile.TemporaryDirectory(prefix="interop-data-")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.process = None
        self.admin = None
        try:
            self.start()
            self.enroll_token = self.command("token", "mint", "--kind", "enroll")["token"]
            self.admin = Line(self.address, self.command("token", "mint", "--kind", "operator")["token"])
        except BaseException:
            self.stop()
            raise

    def start(self):
        """Starts it; again, after `kill`, on the same data and the same port."""
        log = open(pathlib.Path(self.folder.name) / "log", "ab")
        self.process = subprocess.Popen(
            [self.binary, "serve", "--data", self.folder.name, "--listen", self.address, "--until-stdin-ends"],
            stdout=log, stderr=log, stdin=subprocess.PIPE)
        log.close()
        until = time.monotonic() + STARTS_WITHIN_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the coordinator does not start:\n{self.log()}")
            time.sleep(0.05)

    def is_ready(self):
        """A coordinator that serves says so, with its process id, in its data folder."""
        try:
            return json.loads((pathlib.Path(self.folder.name) / "coordinator.json").read_text())["pid"] == self.process.pid
        except (FileNotFoundError, ValueError):
            return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def log(self):
        return (pathlib.Path(self.folder.name) / "log").read_text(errors="replace")[-4000:]

    def command(self, *arguments):
        """One command of `scale-coordinator`, and its JSON."""
        done = subprocess.run([self.binary, *arguments, "--data", self.folder.name, "--json"],
                              capture_output=True, text=True, timeout=STARTS_WITHIN_SECONDS, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stderr}")
        return json.loads(done.stdout)

    def person_token(self, user):
        """What a person who has signed in sends to the REST API."""
        return self.command("token", "mint", "--kind", "person", "--user", user)["token"]

    def create_task(self, name, initial_model, *settings):
        file = pathlib.Path(self.folder.name) / f"{name}.safetensors"
        file.write_bytes(initial_model)
        self.command("task", "create", name, "--initial", str(file), *settings)

    def finished(self, round_id, within_seconds):
        """The round, once it is over."""
        until = time.monotonic() + within_seconds
        while True:
            info = self.admin.call("Admin", "GetRound", messages.GetRoundRequest(round_id=round_id))
            if info.phase in ("finished", "abandoned"):
                return info
            if time.monotonic() > until:
                raise RuntimeError(f"the round is still {info.phase}:\n{self.log()}")
            time.sleep(0.05)

    def stop(self):
        if self.admin:
            self.admin.close()
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()
        self.folder.cleanup()
