import asyncio

from sse_asgi import Finish, Reasoning, Usage
from sse_asgi.chat import ChatApp, ChatError


async def generate(chat):
    if "weather" in chat.text:
        raise ChatError(400, "I know nothing of the weather.")
    yield Reasoning("The user wants to hear an echo.")
    words = f"You said: {chat.text}".split()
    for word in words[:10]:
        if word == "crash":
            raise RuntimeError("the database is at 10.0.0.7")
        yield word + " "
        await asyncio.sleep(0.1)
    yield Usage(input_tokens=len(chat.text.split()), output_tokens=len(words[:10]))
    yield Finish("stop" if len(words) <= 10 else "length")


def save(transcript, chat):
    print(f"{chat.dialect}: {transcript.outcome}: {transcript.text!r} {transcript.usage}")


app = ChatApp(generate, models=["echo"], on_complete=save)
