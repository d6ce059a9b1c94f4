"use strict";
(() => {
const run = JSON.parse(document.getElementById("run").textContent);
const by = id => document.getElementById(id);
const rows = run.rows;
const names = rows.length ? rows[0].processes.map(p => p.name) : [];
const placed = rows.some(r => r.processes.some(p => p.line))
let at = -1, timer = 0;

// make makes an element; whatever is said by the scenario is text in it, never markup.
function make(tag, kind, ...inside) {
	const e = document.createElement(tag);
	if (kind) e.className = kind;
	e.append(...inside);
	return e;
}
const color = name => names.includes(name) ? "p" + names.indexOf(name) % 8 : "";
const chip = name => make("span", "chip " + color(name), name);
const quoted = text => JSON.stringify(text);
const equal = (a, b) => JSON.stringify(a) === JSON.stringify(b);

function time(ns) {
	for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["us", 1e3]]) {
		if (ns >= size) return +(ns / size).toFixed(3) + " " + unit;
	}
	return ns ? ns + " ns" : "0";
}

// told is what a row tells of: who, and what they did.
function told(row, i) {
	const events = (row.events || []).map(e => [e.process, e.text]);
	if (events.length) return events;
	if (i === 0) return [["", "The start: nobody has taken a step."]];
	return [[row.process || "", row.process ? "goes on" : "the clock goes on"]];
}

const states = {ready: "could go on", running: "goes on", blocked: "waits", sleeping: "sleeps", killing: "waits for its victim's end", exited: "has ended", killed: "was killed"};

function processCard(p, before, row) {
	const state = p.state === "blocked" && p.waits_for ? "waits for " + p.waits_for : states[p.state] || p.state;
	const over = p.state === "exited" || p.state === "killed";
	const card = make("div", "card" + (over ? " over" : "") + (before && !equal(p, before) || row.process === p.name ? " changed" : ""),
		make("h3", "", make("span", color(p.name), p.name), make("small", p.state, state)));
	card.dataset.process = p.name;
	card.dataset.state = p.state;
	// Before its first line a real process has not begun; behind its last one it is at its end.
	if (!over && rows.slice(0, at + 1).some(r => r.processes.some(q => q.name === p.name && q.line))) {
		card.append(make("p", "at", make("code", "", p.line ? p.line + ": " + (run.lines[p.line - 1] || "").trim() : "at its end")));
	}
	if (p.locals && p.locals.length) {
		const list = make("dl", "value");
		for (const v of p.locals) list.append(make("dt", "", v.name), make("dd", "", v.value));
		card.append(list);
	}
	return card;
}

function objectCard(o, before) {
	const changed = before && !equal(o, before) ? " changed" : "";
	const card = make("div", "card" + changed, make("h3", "", make("span", "", o.name), make("small", "", o.kind)));
	card.dataset.object = o.name;
	if (o.value !== undefined) {
		card.append(make("div", "units", String(o.value)));
	} else if (o.kind === "segment") {
		card.append(make("p", "", o.bytes + " bytes"));
	} else {
		const contents = o.contents || [], slots = make("div", "slots");
		for (const text of contents) slots.append(make("span", "slot", quoted(text)));
		for (let i = 0; i < (o.leased || 0); i++) slots.append(make("span", "slot leased", "on lease"));
		const capacity = Number(o.capacity);
		if (o.capacity !== undefined && capacity <= 12) {
			for (let i = contents.length + (o.leased || 0); i < capacity; i++) slots.append(make("span", "slot free"));
		}
		if (slots.childNodes.length) card.append(slots);
		let hint = contents.length > 1 ? "the left one comes next" : contents.length || o.leased ? "" : "empty";
		if (capacity === 0) hint = "has no buffer: a send waits for its receive";
		if (hint) card.append(make("p", "hint", hint));
		if (contents.length > 3) card.classList.add("wide");
	}
	const waiting = make("p", "", ...(o.waiting || []).map(chip));
	if (o.waiting && o.waiting.length) {
		waiting.prepend("waiting: ");
		card.append(waiting);
	}
	return card;
}

function variableCard(v, before) {
	const card = make("div", "card" + (before && v.value !== before.value ? " changed" : ""), make("h3", "", v.name), make("div", "value", v.value));
	card.dataset.variable = v.name;
	return card;
}

function fill(part, cards) {
	by(part).replaceChildren(...cards);
	by(part + "-part").hidden = cards.length === 0;
}

function scrollTo(e, box) {
	if (e.offsetTop < box.scrollTop || e.offsetTop + e.offsetHeight > box.scrollTop + box.clientHeight) {
		box.scrollTop = e.offsetTop - box.clientHeight / 2;
	}
}

function show(i) {
	i = Math.max(0, Math.min(rows.length - 1, i));
	if (i === at || rows.length === 0) return;
	at = i;
	const row = rows[i], before = i > 0 ? rows[i - 1] : null;
	const had = (list, name) => before && (before[list] || []).find(x => x.name === name);
	fill("processes", row.processes.map(p => processCard(p, had("processes", p.name), row)));
	fill("objects", (row.objects || []).map(o => objectCard(o, had("objects", o.name))));
	fill("variables", (row.variables || []).map(v => variableCard(v, had("variables", v.name))));
	by("what").replaceChildren(...told(row, i).map(([who, text]) => make("span", "", ...(who ? [make("b", color(who), who), text] : [text]))));
	for (const li of by("source").children) {
		const line = Number(li.dataset.line);
		li.classList.toggle("now", line === row.line);
		li.lastChild.replaceChildren(...row.processes.filter(p => p.line === line && p.state !== "exited" && p.state !== "killed").map(p => chip(p.name)));
	}
	const now = by("source").querySelector(".now");
	if (now) scrollTo(now, by("source"));
	[...by("rows").children].forEach((li, n) => li.classList.toggle("now", n === i));
	scrollTo(by("rows").children[i], by("rows"));
	by("slider").value = i;
	by("place").value = "step " + row.step + " of " + rows[rows.length - 1].step + (row.time_ns ? ", " + time(row.time_ns) : "");
	by("slider").setAttribute("aria-valuetext", by("place").value);
	by("first").disabled = by("back").disabled = i === 0;
	by("last").disabled = by("forth").disabled = i === rows.length - 1;
	by("verdict").hidden = false;
	document.documentElement.dataset.step = row.step;
	history.replaceState(null, "", "#" + row.step);
	if (i === rows.length - 1) play(false);
}

function play(on) {
	clearInterval(timer);
	timer = on ? setInterval(() => show(at + 1), 900) : 0;
	by("play").classList.toggle("on", on);
	by("play").setAttribute("aria-label", on ? "Pause" : "Play");
}
function toggle() {
	if (!timer && at === rows.length - 1) show(0);
	play(!timer);
}
function go(i) {
	play(false);
	show(i);
}

// fromHash is the row of the step that the address names: the last one up to it.
function fromHash() {
	const step = Number(location.hash.slice(1));
	let i = rows.findIndex(r => r.step > step);
	if (i < 0) i = rows.length;
	return Number.isFinite(step) ? i - 1 : 0;
}

by("title").textContent = run.title || run.file;
by("verdict").textContent = run.verdict;
by("verdict").className = run.result === "done" ? "good" : run.result === "unfinished" ? "" : "bad";
run.lines.forEach((text, i) => {
	const code = make("span", text.trim().startsWith("#") ? "code comment" : "code", text);
	const li = make("li", "", make("span", "number", String(i + 1)), code, make("span", ""));
	li.dataset.line = i + 1;
	by("source").append(li);
});
rows.forEach((row, i) => {
	const what = make("span", "", ...told(row, i).map(([who, text]) => make("span", "", ...(who ? [make("b", color(who), who), " " + text] : [text]))));
	const li = make("li", "", make("span", "number", String(row.step)), make("span", "time", time(row.time_ns)), what);
	li.addEventListener("click", () => go(i));
	by("rows").append(li);
});
by("slider").max = Math.max(0, rows.length - 1);
by("slider").addEventListener("input", () => go(Number(by("slider").value)));
by("first").addEventListener("click", () => go(0));
by("back").addEventListener("click", () => go(at - 1));
by("forth").addEventListener("click", () => go(at + 1));
by("last").addEventListener("click", () => go(rows.length - 1));
by("play").addEventListener("click", toggle);
const keys = {ArrowLeft: () => go(at - 1), ArrowRight: () => go(at + 1), Home: () => go(0), End: () => go(rows.length - 1), " ": toggle};
document.addEventListener("keydown", e => {
	if (!keys[e.key] || e.ctrlKey || e.altKey || e.metaKey || e.key === " " && e.target.closest("button")) return;
	e.preventDefault();
	keys[e.key]();
});
addEventListener("hashchange", () => go(fromHash()));
show(fromHash());
})();
