// A page with AI SDK's useChat, of the major version that the bundler puts in "use-chat" and "ai".

import { DefaultChatTransport } from "ai";
import { createRoot } from "react-dom/client";
import { useState } from "react";
import { useChat } from "use-chat";

// A page that resumes has one chat, whose id it keeps.
const resuming = location.search.includes("resume") ? { id: "chat 1/ä", resume: true } : {};

function Page() {
  const [told, setTold] = useState({});
  const { messages, sendMessage, status, error, stop } = useChat({
    ...resuming,
    transport: new DefaultChatTransport({ api: "/ai-sdk" }),
    onFinish: ({ isError, isAbort, isDisconnect, finishReason }) =>
      setTold({ isError, isAbort, isDisconnect, finishReason, finished: true }),
  });
  const answer = messages.findLast((message) => message.role === "assistant");
  window.ask = (text) => sendMessage({ text });
  window.leave = stop;
  window.seen = {
    parts: answer?.parts ?? [],
    metadata: answer?.metadata ?? null,
    answers: messages.filter((message) => message.role === "assistant").length,
    status,
    error: error?.message ?? null,
    ...told,
  };
  return <pre>{JSON.stringify(window.seen)}</pre>;
}

createRoot(document.getElementById("root")).render(<Page />);
