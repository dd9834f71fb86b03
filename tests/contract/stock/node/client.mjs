// What a user of OpenAI's package does, with another base URL. Prints one JSON object for the test to judge.
import fs from "node:fs";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

import OpenAI, { toFile } from "openai";

const asked = JSON.parse(fs.readFileSync(0, "utf8"));
const client = new OpenAI({ baseURL: asked.base_url, apiKey: "any" });

function png(base64, name) {
  return toFile(Buffer.from(base64, "base64"), name, { type: "image/png" });
}

async function generate() {
  const made = await client.images.generate(asked.generate);
  return { size: made.size, images: made.data.map((image) => image.b64_json) };
}

async function edit() {
  const made = await client.images.edit({
    ...asked.edit,
    image: await png(asked.image, "scene.png"),
    mask: await png(asked.mask, "mask.png"),
  });
  return { size: made.size, images: made.data.map((image) => image.b64_json) };
}

async function stream() {
  const events = await client.images.generate({ ...asked.generate, stream: true, partial_images: 1 });
  const found = [];
  for await (const event of events) found.push({ type: event.type, image: event.b64_json });
  return found;
}

async function refused() {
  try {
    await client.images.generate({ ...asked.generate, n: 11 });
  } catch (error) {
    return { kind: error.constructor.name, status: error.status, param: error.param };
  }
  return null;
}

async function lines(id) {
  const text = await (await client.files.content(id)).text();
  return text.trimEnd().split("\n").map((line) => JSON.parse(line));
}

async function batch() {
  const body = asked.lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  const sent = await client.files.create({ file: await toFile(Buffer.from(body), "rows.jsonl"), purpose: "batch" });
  let found = await client.batches.create({
    input_file_id: sent.id,
    endpoint: "/v1/images/generations",
    completion_window: "24h",
  });
  while (!["failed", "completed", "expired", "cancelled"].includes(found.status)) {
    await sleep(500);
    found = await client.batches.retrieve(found.id);
  }
  const listed = [];
  for await (const one of client.batches.list({ limit: 1 })) listed.push(one.id);
  const gone = await client.files.delete(sent.id);
  return {
    found,
    listed,
    deleted: gone.deleted,
    output: await lines(found.output_file_id),
    errors: await lines(found.error_file_id),
  };
}

const told = {
  models: (await client.models.list()).data.map((model) => model.id),
  generate: await generate(),
  edit: await edit(),
  stream: await stream(),
  refused: await refused(),
  batch: await batch(),
};
process.stdout.write(JSON.stringify(told));
