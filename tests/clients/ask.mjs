// Asks a chat app as several clients do, all at once, and prints what each has understood, as JSON.
// node ask.mjs '[{"client": "openai-chat", "url": "http://127.0.0.1:8000", "message": "Hi"}]'

import { HttpAgent } from "@ag-ui/client";
import Anthropic from "@anthropic-ai/sdk";
import * as ai5 from "ai5";
import * as ai6 from "ai6";
import * as ai7 from "ai7";
import OpenAI from "openai";

async function ask({ client, url, message, retries = 0 }) {
  const said = { text: "", reasoning: "", calls: [], usage: null, finish: null, error: null };
  const user = { role: "user", content: message };

  function openai() {
    return new OpenAI({ baseURL: `${url}/v1`, apiKey: "x", maxRetries: retries });
  }

  function anthropic() {
    return new Anthropic({ baseURL: url, apiKey: "x", maxRetries: retries });
  }

  function count(input, output) {
    said.usage = { input, output };
  }

  function readCompletion(completion) {
    const { message, finish_reason } = completion.choices[0];
    said.text = message.content ?? "";
    said.reasoning = message.reasoning_content ?? "";
    for (const call of message.tool_calls ?? [])
      said.calls.push({ id: call.id, name: call.function.name, arguments: call.function.arguments });
    said.finish = finish_reason;
    if (completion.usage) count(completion.usage.prompt_tokens, completion.usage.completion_tokens);
  }

  function readResponse(response) {
    for (const item of response.output) {
      if (item.type === "message") said.text += item.content.map((part) => part.text).join("");
      if (item.type === "reasoning")
        said.reasoning += item.summary.map((part) => part.text).join("");
      if (item.type === "function_call")
        said.calls.push({ id: item.call_id, name: item.name, arguments: item.arguments });
    }
    said.finish = response.status;
    if (response.usage) count(response.usage.input_tokens, response.usage.output_tokens);
  }

  function readMessage(message) {
    for (const block of message.content) {
      if (block.type === "text") said.text += block.text;
      if (block.type === "thinking") said.reasoning += block.thinking;
      if (block.type === "tool_use")
        said.calls.push({ id: block.id, name: block.name, arguments: JSON.stringify(block.input) });
    }
    said.finish = message.stop_reason;
    count(message.usage.input_tokens, message.usage.output_tokens);
  }

  const chat = {
    model: "mine",
    messages: [user],
    stream_options: { include_usage: true },
  };
  const thread = { model: "mine", max_tokens: 100, messages: [user] };

  async function aiSDK(ai) {
    const transport = new ai.DefaultChatTransport({ api: `${url}/ai-sdk` });
    const stream = await transport.sendMessages({
      chatId: "chat-1",
      trigger: "submit-message",
      messages: [{ id: "m1", role: "user", parts: [{ type: "text", text: message }] }],
    });
    const options = { stream, terminateOnError: true, onError: note };
    const readable = ai.readUIMessageStream(options);
    for await (const answer of readable) readUIMessage(answer);
  }

  function readUIMessage(answer) {
    const parts = (type) => answer.parts.filter((part) => part.type === type);
    said.text = parts("text").map((part) => part.text).join("");
    said.reasoning = parts("reasoning").map((part) => part.text).join("");
    said.calls = answer.parts
      .filter((part) => part.type.startsWith("tool-"))
      .map((part) => ({
        id: part.toolCallId,
        name: part.type.slice("tool-".length),
        arguments: JSON.stringify(part.input),
      }));
    const usage = answer.metadata?.usage;
    if (usage) count(usage.inputTokens, usage.outputTokens);
  }

  const clients = {
    async "openai-chat"() {
      for await (const chunk of await openai().chat.completions.create({ ...chat, stream: true })) {
        const choice = chunk.choices[0];
        said.text += choice?.delta.content ?? "";
        said.reasoning += choice?.delta.reasoning_content ?? "";
        for (const call of choice?.delta.tool_calls ?? [])
          said.calls.push({ id: call.id, name: call.function.name, arguments: call.function.arguments });
        said.finish = choice?.finish_reason ?? said.finish;
        if (chunk.usage) count(chunk.usage.prompt_tokens, chunk.usage.completion_tokens);
      }
    },
    async "openai-chat-helper"() {
      readCompletion(await openai().chat.completions.stream(chat).finalChatCompletion());
    },
    async "openai-chat-whole"() {
      readCompletion(await openai().chat.completions.create({ model: "mine", messages: [user] }));
    },
    async "openai-responses"() {
      const request = { model: "mine", input: message, stream: true };
      for await (const event of await openai().responses.create(request)) {
        if (event.type === "response.output_text.delta") said.text += event.delta;
        if (event.type === "response.completed") {
          const text = said.text;
          said.text = "";
          readResponse(event.response);
          if (text !== said.text) throw new Error("the deltas and the whole text differ");
        }
      }
    },
    async "openai-responses-helper"() {
      const response = await openai().responses.stream({ model: "mine", input: message }).finalResponse();
      readResponse(response);
    },
    async "openai-responses-whole"() {
      readResponse(await openai().responses.create({ model: "mine", input: message }));
    },
    async anthropic() {
      for await (const event of await anthropic().messages.create({ ...thread, stream: true })) {
        if (event.type === "content_block_start" && event.content_block.type === "tool_use")
          said.calls.push({ id: event.content_block.id, name: event.content_block.name, arguments: "" });
        if (event.delta?.type === "text_delta") said.text += event.delta.text;
        if (event.delta?.type === "thinking_delta") said.reasoning += event.delta.thinking;
        if (event.delta?.type === "input_json_delta")
          said.calls.at(-1).arguments += event.delta.partial_json;
        if (event.type === "message_delta") {
          said.finish = event.delta.stop_reason;
          count(event.usage.input_tokens, event.usage.output_tokens);
        }
      }
    },
    async "anthropic-helper"() {
      readMessage(await anthropic().messages.stream(thread).finalMessage());
    },
    async "anthropic-whole"() {
      readMessage(await anthropic().messages.create(thread));
    },
    ai5: () => aiSDK(ai5),
    ai6: () => aiSDK(ai6),
    ai7: () => aiSDK(ai7),
    async "ag-ui"() {
      const agent = new HttpAgent({
        url: `${url}/ag-ui`,
        initialMessages: [{ id: "1", ...user }],
      });
      await agent.runAgent({}, {
        onRunErrorEvent: ({ event }) => note(Object.assign(new Error(event.message), { name: "RUN_ERROR", code: event.code })),
        onRunFinishedEvent: ({ event }) => {
          said.finish = event.outcome?.type;
          for (const each of event.usage ?? []) count(each.inputTokens, each.outputTokens);
        },
        onReasoningMessageContentEvent: ({ event }) => (said.reasoning += event.delta),
        onTextMessageContentEvent: ({ event }) => (said.text += event.delta),
        onToolCallEndEvent: ({ event, toolCallName, toolCallArgs }) =>
          said.calls.push({ id: event.toolCallId, name: toolCallName, arguments: JSON.stringify(toolCallArgs) }),
      });
    },
  };

  function note(error) {
    said.error ??= { name: error.constructor?.name ?? error.name, message: error.message, status: error.status ?? null };
    said.error.code ??= error.code ?? null;
    if (error.name === "RUN_ERROR") said.error.name = "RUN_ERROR";
  }

  try {
    await clients[client]();
  } catch (error) {
    note(error);
  }
  return said;
}

// AG-UI's client rejects once more, unhandled, where a connection breaks.
process.on("unhandledRejection", () => {});
const answers = await Promise.all(JSON.parse(process.argv[2]).map(ask));
process.stdout.write(JSON.stringify(answers), () => process.exit(0));
