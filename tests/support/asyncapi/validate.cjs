// Reads an AsyncAPI document from standard input, writes what AsyncAPI's own parser says about it as JSON.
// CommonJS, so that NODE_PATH tells where the packages lie.
const { readFileSync } = require("node:fs");
const { Parser } = require("@asyncapi/parser");

async function main() {
  const found = await new Parser().validate(readFileSync(0, "utf8"));
  process.stdout.write(JSON.stringify(found.map(({ code, message, path, severity }) => ({ code, message, path, severity }))));
}

main();
