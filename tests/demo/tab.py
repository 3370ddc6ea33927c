"""The demo's page in a browser, as a user handles it."""

import re

from tests.servers import wait_for

VERDICT = re.compile("^(identical|prefix|differs|failed)$")
ROWS = """() => Array.from(document.querySelectorAll("#story tr"), (row) => {
  const [what, ...lanes] = row.children;
  const number = (chip) => parseInt(chip.textContent.replaceAll(",", ""));
  return [what.textContent, ...lanes.map((cell) =>
    [...Array.from(cell.children, number), cell.lastChild.textContent])];
})"""


class Demo:
    """The page in a tab of its own, as a user handles it."""

    def __init__(self, browser, url, **options):
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.complaints = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url)
        self.prompt = self.page.get_by_label("Prompt")
        self.generate = self.page.get_by_role("button", name="Ask")
        self.stop = self.button("Stop")
        self.status = self.page.get_by_role("status")
        self.answer = self.page.get_by_role("region", name="Answer", exact=True)
        self.transcript = self.page.get_by_role("region", name="Transcript", exact=True)

    def _note(self, message):
        # Chromium tells of every connection that breaks: that is what the buttons are for.
        if "net::ERR_" not in message.text:
            self.complaints.append(message.text)

    def button(self, name):
        return self.page.get_by_role("button", name=name)

    def score(self, lane):
        """Return how many characters a lane has lost, and how many it has twice."""
        return tuple(self.number(f"{lane}-{what}") for what in ("lost", "doubled"))

    def rows(self):
        """Return what was done, and of each lane: lost, doubled, and what it says of it."""
        return self.page.evaluate(ROWS)

    def wait_for_row(self, what):
        """Wait for a verdict on what was done, and return what it says of both lanes."""
        wait_for(lambda: any(row[0].startswith(what) for row in self.rows()), within=40, what=what)
        return next(row[1:] for row in self.rows() if row[0].startswith(what))

    def wait_for_end(self):
        """Wait until both lanes have ended, and return what is said of them."""
        return self.wait_for_row("The end")

    def text(self, id_):
        return self.page.locator(f"#{id_}").text_content()

    def number(self, id_):
        return float(self.text(id_).removesuffix(" s").replace(",", ""))

    def chunks(self):
        shown = self.text("chunks").replace(",", "")
        return int(shown) if shown.isdigit() else 0

    def wait_for_chunks(self, number):
        wait_for(lambda: self.chunks() >= number, within=30, what=f"{number} chunks")

    def wait_for_verdict(self):
        """Wait until the first lane has ended, and return the verdict on it."""
        ended = re.compile("completed|stopped|failed|unknown")
        wait_for(lambda: ended.match(self.text("server-state")), within=40, what="the end")
        wait_for(lambda: VERDICT.match(self.verdict), within=30, what="a verdict")
        return self.verdict

    @property
    def verdict(self):
        return self.status.get_attribute("data-verdict")
