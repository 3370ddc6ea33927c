// Asks an AG-UI endpoint as TanStack's chat client does, and prints what it has understood, as JSON.
// node tanstack.mjs http://127.0.0.1:8000/ag-ui Hi

import { ChatClient, fetchServerSentEvents } from "@tanstack/ai-client";

const [url, message] = process.argv.slice(2);
let error = null;
const client = new ChatClient({
  connection: fetchServerSentEvents(url),
  onError: (raised) => (error = raised.message),
});
await client.sendMessage(message);
const texts = client
  .getMessages()
  .filter(({ role }) => role === "assistant")
  .flatMap(({ parts }) => parts.filter(({ type }) => type === "text").map((part) => part.content));
console.log(JSON.stringify({ text: texts.join(""), error }));
process.exit(); // it keeps timers of its own
