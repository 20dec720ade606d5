// Shows /api/openapi.json, and sends requests to the API. Takes nothing from its own address.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];

/** Makes an element; text is never read as HTML. */
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== undefined));
  return made;
}

function resolve(api, schema) {
  const path = schema?.$ref?.slice("#/".length).split("/");
  return path ? path.reduce((part, name) => part[name], api) : schema;
}

/** A schema in a few words, such as `integer` or `list of ClientView`. */
function typeName(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return choices.map(typeName).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.items) return `list of ${typeName(schema.items)}`;
  return [schema.type].flat().filter(Boolean).join(" or ") || "any";
}

function table(headings, rows) {
  const row = (cells, kind) => element("tr", {}, ...cells.map((cell) => element(kind, {}, cell)));
  return element("table", {}, row(headings, "th"), ...rows.map((cells) => row(cells, "td")));
}

function fields(api, schema) {
  const { properties, required = [] } = resolve(api, schema) ?? {};
  if (!properties) return undefined;
  const rows = Object.entries(properties).map(([name, property]) => [
    element("code", { textContent: name }),
    typeName(property) + (required.includes(name) ? ", required" : ""),
    property.description ?? resolve(api, property).description ?? "",
  ]);
  return table(["Field", "Type", "Meaning"], rows);
}

function answers(responses) {
  const rows = Object.entries(responses).map(([status, { description = "", content = {} }]) => [
    element("code", { textContent: status }),
    Object.values(content).map(({ schema }) => typeName(schema)).join(", "),
    description,
  ]);
  return table(["Status", "Body", "When"], rows);
}

/** The form that sends a request, and the answer below it. */
function attempt(path, method, operation, api) {
  const inputs = (operation.parameters ?? []).map((parameter) => [
    parameter,
    element("input", { placeholder: parameter.required ? "required" : "" }),
  ]);
  const [mediaType, media] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  const body = mediaType && element("textarea", { value: example(api, media.schema), spellcheck: false });
  const shown = element("pre", { hidden: true });
  const send = element("button", { type: "submit", textContent: "Send" });
  const rows = inputs.map(([parameter, input]) => [
    element("label", {}, element("code", { textContent: parameter.name }), " ", input),
    parameter.in,
    parameter.description ?? "",
  ]);
  const form = element("form", {}, rows.length ? table(["Parameter", "In", "Meaning"], rows) : undefined, body, send);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const of = (place) => inputs.filter(([parameter, input]) => parameter.in === place && input.value);
    const url = new URL(
      of("path").reduce((url, [{ name }, { value }]) => url.replace(`{${name}}`, encodeURIComponent(value)), path),
      location.origin,
    );
    of("query").forEach(([{ name }, { value }]) => url.searchParams.append(name, value));
    const headers = Object.fromEntries(of("header").map(([{ name }, { value }]) => [name, value]));
    const token = document.getElementById("token").value;
    if (token) headers.Authorization = `Bearer ${token}`;
    // What changes something must say that it is JSON, also without a body.
    if (method !== "get") headers["Content-Type"] = mediaType ?? "application/json";
    shown.hidden = false;
    shown.textContent = await ask(url, { method: method.toUpperCase(), headers, body: body?.value });
  });
  return [form, shown];
}

async function ask(url, request) {
  try {
    const answer = await fetch(url, request);
    const text = await answer.text();
    const tag = answer.headers.get("etag");
    const head = `${request.method} ${url.pathname}${url.search}\n${answer.status} ${answer.statusText}\n${tag ? `ETag: ${tag}\n` : ""}`;
    return `${head}\n${readable(text)}`;
  } catch (error) {
    return String(error);
  }
}

function readable(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function example(api, schema) {
  const { properties = {}, required = [] } = resolve(api, schema) ?? {};
  const value = ({ type }) => ([type].flat().includes("string") ? "" : [type].flat().includes("array") ? [] : 1);
  const entries = required.map((name) => [name, properties[name].example ?? value(properties[name])]);
  return JSON.stringify(Object.fromEntries(entries), null, 2);
}

function show(path, method, operation, api) {
  const { content } = operation.requestBody ?? {};
  const schema = Object.values(content ?? {})[0]?.schema;
  const title = element(
    "summary", {}, element("b", { textContent: method.toUpperCase() }), element("code", { textContent: path }),
    ` ${operation.summary ?? ""}`,
  );
  const text = operation.description && element("p", { textContent: operation.description });
  return element("details", {}, title, text, fields(api, schema), ...attempt(path, method, operation, api), answers(operation.responses));
}

async function main() {
  const page = document.getElementById("operations");
  try {
    const api = await (await fetch("/api/openapi.json")).json();
    document.getElementById("description").textContent = api.info.description;
    const groups = new Map();
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const method of METHODS.filter((method) => methods[method])) {
        const group = methods[method].tags?.[0] ?? "other";
        groups.set(group, [...(groups.get(group) ?? []), show(path, method, methods[method], api)]);
      }
    }
    const sections = [...groups].map(([name, operations]) => element("section", {}, element("h2", { textContent: name }), ...operations));
    page.replaceChildren(...sections);
  } catch (error) {
    page.replaceChildren(element("p", { className: "error", textContent: `The document could not be shown: ${error}` }));
  }
}

main();
