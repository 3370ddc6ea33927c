"""The tutorial about every client: its app, its clients and its page, as a reader runs them."""

import os
import subprocess

import anthropic
import openai
import pytest

from tests import documents
from tests.chat import node_clients
from tests.documents import DOCS, EXAMPLES
from tests.report import wait_for
from tests.servers import SERVERS, serve

pytestmark = pytest.mark.matrix

TUTORIAL = DOCS / "tutorial" / "every-client.md"


def says_that_it_runs(running):
    return f"running on {running.url} " in running.log


def serving(directory, app):
    kind = SERVERS["uvicorn-httptools"]
    return serve(kind, directory=directory, app=app, ready=says_that_it_runs)


def test_the_ten_lines_of_the_tutorial_answer_the_official_clients(tmp_path, capsys):
    first, *_ = documents.blocks_of(TUTORIAL, "python")
    (tmp_path / "every_client.py").write_text(first.text)
    names = clients_of_the_tutorial()
    with serving(tmp_path, "every_client:app") as server:
        names["ask"](server.url)
        names["ask_anthropic"](server.url)
    shown = shown_in(TUTORIAL)
    said = capsys.readouterr().out.splitlines()
    assert said == ["You said: Hello ", "You said: Hello again ", "You said: Hello "]
    assert all(line in shown.splitlines() for line in said)


def clients_of_the_tutorial(prompt="Hello"):
    names = {"__name__": "clients"}
    for block in documents.blocks_of(TUTORIAL, "python")[1:3]:
        exec(block.text.replace('"Hello"', f'"{prompt}"'), names)
    return names


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Serve the site as it stands at the end of the tutorial, without its script."""
    directory = tmp_path_factory.mktemp("site")
    *_, app, starlette = documents.blocks_of(TUTORIAL, "python")
    (html,) = documents.blocks_of(TUTORIAL, "html")
    (jsx,) = documents.blocks_of(TUTORIAL, "jsx")
    assert app.text == (EXAMPLES / "every_client.py").read_text()
    (directory / "every_client.py").write_text(app.text)
    (directory / "app.py").write_text(starlette.text)
    (directory / "page.html").write_text(html.text)
    (directory / "page.jsx").write_text(jsx.text)
    with serving(directory, "app:app") as server:
        server.directory = directory
        yield server


def shown_in(page):
    return "\n".join(block.text for block in documents.blocks_of(page, "text"))


def test_the_server_of_the_tutorial_prints_what_it_saved(site, capsys):
    clients_of_the_tutorial()["ask"](site.url)
    assert capsys.readouterr().out == "You said: Hello \nYou said: Hello again \n"
    transcripts = [line for line in shown_in(TUTORIAL).splitlines() if "completed: " in line]
    assert len(transcripts) == 2
    wait_for(lambda: all(line in site.log for line in transcripts), what="the transcripts")


@pytest.mark.parametrize(
    ("prompt", "error", "printed"),
    [
        ("How is the weather?", openai.BadRequestError, ""),
        ("Please crash now", openai.APIError, "You said: Please "),
    ],
)
def test_the_clients_of_the_tutorial_raise_as_the_page_says(site, capsys, prompt, error, printed):
    with pytest.raises(openai.APIError) as caught:
        clients_of_the_tutorial(prompt)["ask"](site.url)
    assert type(caught.value) is error
    assert capsys.readouterr().out == printed
    told = f"{printed}openai.{error.__name__}: {caught.value}"
    assert told in shown_in(TUTORIAL).splitlines()
    with pytest.raises(anthropic.APIStatusError):
        clients_of_the_tutorial(prompt)["ask_anthropic"](site.url)


def test_the_page_of_the_tutorial_shows_answers_and_errors(site, chromium):
    bundle(site.directory / "page.jsx", site.directory / "page.js")
    page = chromium.new_page()
    page.goto(site.url)

    def say(text, shown):
        page.fill("input", text)
        page.click("text=Send")
        page.wait_for_selector(shown, timeout=20_000)

    say("Hello", "p.assistant span:text-is('You said: Hello')")
    assert page.inner_text("p.assistant i").strip() == "The user wants to hear an echo."
    say("How is the weather?", "[role=alert]:text-is('I know nothing of the weather.')")
    say("Please crash now", "[role=alert]:text-is('The stream failed on the server.')")
    page.close()


def bundle(source, target):
    """Bundle a page as a reader does with the newest versions of all packages."""
    node_clients.require_node()
    modules = node_clients.FOLDER / "node_modules"
    command = [
        str(modules / ".bin" / "esbuild"), str(source), "--bundle", "--jsx=automatic",
        "--alias:@ai-sdk/react=use-chat-7", "--alias:ai=ai7",
        f"--outfile={target}", "--log-level=error",
    ]  # fmt: skip
    environment = os.environ | {"NODE_PATH": str(modules)}
    subprocess.run(command, check=True, cwd=node_clients.FOLDER, env=environment)
