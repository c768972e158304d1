// Records the HTTP requests that CloudEvents' JavaScript and Go SDKs make, byte for byte, into requests.json.
// Again: copy this folder elsewhere; there: npm install cloudevents@10, and in go/: go mod init record && go get github.com/cloudevents/sdk-go/v2@v2.16.2 && go build -o ../send-go . ; then: node record.cjs
const { spawn } = require("node:child_process");
const { writeFileSync } = require("node:fs");
const net = require("node:net");
const { CloudEvent, CONSTANTS, Mode, emitterFor, httpTransport } = require("cloudevents");

const recorded = [];

const server = net.createServer((socket) => {
  let raw = "";
  socket.on("data", (part) => {
    raw += part.toString("latin1");
    clearTimeout(socket.quiet);
    socket.quiet = setTimeout(() => {
      socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
      recorded.at(-1).request = raw.replace(/\r\nhost: [^\r]*/i, "\r\nHost: ingest");
    }, 200);
  });
  socket.on("error", () => {});
});

function event(sdk, mode, number) {
  return new CloudEvent({
    id: `${sdk} ${mode}-${number}`,
    source: "/agents/javascript",
    type: "ai.execution.finished",
    subject: `sdk-${sdk}`,
    time: "2026-10-16T08:30:00Z",
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    team: "blue",
    data: { execution_id: `x${number}`, status: "succeeded", model: "claude-sonnet-4", input_tokens: 1000 },
  });
}

async function javascript(url) {
  const options = { headers: { Authorization: "Bearer KEY" } };
  for (const mode of [Mode.BINARY, Mode.STRUCTURED]) {
    recorded.push({ sdk: "javascript", mode, events: 1 });
    await emitterFor(httpTransport(url), { mode })(event("javascript", mode, 1), options);
  }
  recorded.push({ sdk: "javascript", mode: "batch", events: 2 });
  const body = JSON.stringify([event("javascript", "batch", 1), event("javascript", "batch", 2)]);
  await httpTransport(url)({ headers: { "content-type": CONSTANTS.MIME_CE_BATCH }, body }, options);
}

async function go(url) {
  for (const mode of ["binary", "structured", "batch"]) {
    recorded.push({ sdk: "go", mode, events: mode === "batch" ? 2 : 1 });
    await new Promise((done) => {
      spawn("./send-go", [url, mode], { stdio: "inherit" }).on("exit", done);
    });
  }
}

server.listen(0, "127.0.0.1", async () => {
  const url = `http://127.0.0.1:${server.address().port}/v1/events`;
  await javascript(url);
  await go(url);
  server.close();
  writeFileSync("requests.json", JSON.stringify(recorded, null, 1) + "\n");
});
