"""A page to write queries on, for a store that is not in production."""

from __future__ import annotations

import base64
import secrets

from starlette.responses import HTMLResponse, Response


def page() -> Response:
    """A page to write queries on, without anything from another host."""
    nonce = base64.b64encode(secrets.token_bytes(16)).decode()
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
    }
    return HTMLResponse(_PAGE.replace("NONCE", nonce), headers=headers)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>JIGA Store: GraphQL</title>
<style nonce="NONCE">
  :root { color-scheme: light dark; font: 14px/1.4 system-ui, sans-serif; }
  body { margin: 0; display: grid; grid-template-columns: 1fr 1fr 22rem; height: 100vh; }
  section { display: flex; flex-direction: column; gap: .4rem; padding: .8rem; min-height: 0; overflow: auto; }
  textarea, input, pre { font: 13px/1.45 ui-monospace, monospace; box-sizing: border-box; width: 100%; }
  textarea, input, button { padding: .5rem; border: 1px solid #8888; border-radius: 4px; }
  #query { flex: 3; } #variables { flex: 1; } pre { flex: 1; margin: 0; white-space: pre-wrap; }
  details > div { padding-left: 1rem; } code { color: #07a; }
  @media (max-width: 60rem) { body { grid-template-columns: 1fr; height: auto; } #query { min-height: 14rem; } }
</style></head><body>
<section aria-label="Request">
  <label for="query">Query (Ctrl+Enter runs it)</label>
  <textarea id="query" spellcheck="false">{ __typename }</textarea>
  <label for="variables">Variables (JSON)</label><textarea id="variables" spellcheck="false"></textarea>
  <label for="token">Bearer token</label><input id="token" type="password" autocomplete="off">
  <button id="run">Run</button>
</section>
<section aria-label="Answer"><span id="status">Answer</span><pre id="answer" aria-live="polite"></pre></section>
<section aria-label="Schema"><label for="find">Schema</label><input id="find" placeholder="type or field">
  <div id="docs">Introspection is off.</div></section>
<script nonce="NONCE">
const el = id => document.getElementById(id);
const bearer = () => el("token").value.trim();
let socket = null;

async function post(query, variables) {
  const headers = { "content-type": "application/json", accept: "application/graphql-response+json" };
  if (bearer()) headers.authorization = "Bearer " + bearer();
  const body = JSON.stringify({ query, variables });
  const answer = await fetch(location.pathname, { method: "POST", headers, body });
  return [answer.status, await answer.json()];
}

function listen(query, variables) {
  socket = new WebSocket(location.href.replace(/^http/, "ws").split("#")[0], "graphql-transport-ws");
  const say = message => socket.send(JSON.stringify(message));
  socket.onopen = () => say({ type: "connection_init", payload: bearer() ? { token: bearer() } : {} });
  socket.onclose = event => { el("status").textContent = "Closed " + event.code + " " + event.reason; };
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "connection_ack") say({ id: "1", type: "subscribe", payload: { query, variables } });
    else if (message.type === "ping") say({ type: "pong" });
    else el("answer").prepend(JSON.stringify(message.payload ?? message.type, null, 2) + "\\n\\n");
  };
}

async function run() {
  if (socket) { socket.onclose = null; socket.close(1000); socket = null; }
  el("answer").textContent = "";
  el("status").textContent = "Running";
  try {
    const variables = JSON.parse(el("variables").value.trim() || "{}");
    const query = el("query").value;
    if (/^\\s*subscription\\b/.test(query.replace(/#.*/g, ""))) {
      el("status").textContent = "Listening";
      return listen(query, variables);
    }
    const [status, answer] = await post(query, variables);
    el("status").textContent = "Answer " + status;
    el("answer").textContent = JSON.stringify(answer, null, 2);
  } catch (error) { el("status").textContent = String(error); }
}

const named = type => type.ofType ? named(type.ofType) : type.name;
function show(types) {
  const wanted = el("find").value.trim().toLowerCase();
  el("docs").replaceChildren(...types.flatMap(type => {
    const members = [...(type.fields || []), ...(type.inputFields || []), ...(type.enumValues || [])];
    const lines = members.map(member => member.name + (member.args && member.args.length
      ? "(" + member.args.map(arg => arg.name + ": " + named(arg.type)).join(", ") + ")" : "")
      + (member.type ? ": " + named(member.type) : ""));
    const fits = text => text.toLowerCase().includes(wanted);
    const found = fits(type.name) ? lines : lines.filter(fits);
    if (!found.length) return [];
    const box = document.createElement("details"), title = document.createElement("summary");
    title.textContent = type.name;
    box.open = wanted !== "" || /^(Query|Mutation|Subscription)$/.test(type.name);
    box.append(title, ...found.map(line => {
      const row = document.createElement("div"), code = document.createElement("code");
      code.textContent = line;
      row.append(code);
      return row;
    }));
    return [box];
  }));
}

const TYPE = "type { name ofType { name ofType { name ofType { name } } } }";
post("{ __schema { types { name fields { name args { name " + TYPE + " } " + TYPE + " }"
  + " inputFields { name " + TYPE + " } enumValues { name } } } }").then(([, answer]) => {
  if (!answer.data) return;
  const types = answer.data.__schema.types.filter(type => !type.name.startsWith("__"));
  el("find").oninput = () => show(types);
  show(types);
});
el("run").onclick = run;
document.addEventListener("keydown", event => { if (event.ctrlKey && event.key === "Enter") run(); });
</script></body></html>
"""
