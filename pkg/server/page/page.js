// SPDX-License-Identifier: Apache-2.0
//
// Shows openapi.json: operations by tag, each with its parameters and with the forms of what is sent and
// answered. Everything is put in as text, never as markup.
"use strict";

const verbs = ["get", "post", "put", "patch", "delete"];

function element(tag, text, ...children) {
  const e = document.createElement(tag);
  if (text) e.textContent = text;
  e.append(...children);
  return e;
}

// shape writes a schema as indented lines, following references but not into themselves.
function shape(schema, all, depth, above) {
  const indent = "  ".repeat(depth);
  const mark = schema.readOnly ? "  (read-only)" : "";
  if (schema.allOf) return shape(schema.allOf[0], all, depth, above) + mark;
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    if (above.includes(name)) return name;
    return shape(all[name], all, depth, above.concat(name)) + mark;
  }
  if (schema.type === "array") return "[" + shape(schema.items, all, depth, above) + ", …]";
  if (schema.type === "object") {
    const lines = Object.entries(schema.properties || {}).map(
      ([name, property]) => indent + "  " + name + ": " + shape(property, all, depth + 1, above));
    if (typeof schema.additionalProperties === "object") {
      lines.push(indent + "  <key>: " + shape(schema.additionalProperties, all, depth + 1, above));
    }
    return lines.length ? "{\n" + lines.join("\n") + "\n" + indent + "}" : "{}";
  }
  if (schema.enum) return schema.enum.join(" | ") + mark;
  return schema.type + (schema.format ? " (" + schema.format + ")" : "") + mark;
}

function schemaOf(part) {
  return part && part.content && part.content["application/json"].schema;
}

function operation(verb, path, op, all) {
  const box = element("details", "", element("summary", "",
    element("b", verb.toUpperCase()), element("code", path), " " + op.summary));
  box.dataset.words = [verb, path, op.summary, ...op.tags].join(" ").toLowerCase();
  box.addEventListener("toggle", () => {
    if (box.children.length > 1) return;
    box.append(element("p", op.description));
    if (op.parameters) {
      const table = element("table", "", element("tr", "", element("th", "parameter"), element("th", "in"), element("th", "form"), element("th", "")));
      for (const p of op.parameters) {
        table.append(element("tr", "", element("td", p.name), element("td", p.in),
          element("td", shape(p.schema, all, 0, [])), element("td", p.description || "")));
      }
      box.append(table);
    }
    for (const [title, part] of [["Body", op.requestBody], ["Answer", op.responses["200"]], ["Error", op.responses["default"]]]) {
      const schema = schemaOf(part);
      if (schema) box.append(element("h4", title), element("pre", shape(schema, all, 0, [])));
    }
  });
  return box;
}

function show(doc) {
  document.getElementById("about").textContent = doc.info.description + " Version " + doc.info.version + ".";
  const main = document.getElementById("operations");
  for (const tag of doc.tags) {
    const section = element("section", "", element("h2", tag.name));
    for (const path of Object.keys(doc.paths).sort()) {
      for (const verb of verbs) {
        const op = doc.paths[path][verb];
        if (op && op.tags.includes(tag.name)) section.append(operation(verb, path, op, doc.components.schemas));
      }
    }
    main.append(section);
  }
  const filter = document.getElementById("filter");
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/);
    for (const section of main.children) {
      let any = false;
      for (const box of section.querySelectorAll("details")) {
        box.hidden = !words.every((w) => box.dataset.words.includes(w));
        any = any || !box.hidden;
      }
      section.hidden = !any;
    }
  });
}

fetch("openapi.json")
  .then((r) => (r.ok ? r.json() : Promise.reject(new Error(r.statusText))))
  .then(show)
  .catch((e) => { document.getElementById("about").textContent = "openapi.json cannot be shown: " + e.message; });
