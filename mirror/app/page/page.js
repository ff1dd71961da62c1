
// What the agent and the members know, shown while somebody looks. All text that comes from elsewhere becomes text
// nodes: nothing here parses HTML, and the policy of the page forbids it.

const LOOK_S = 2; // between two looks at the state
const PULLING_S = 1; // the same while something is pulled
const IMAGES_S = 30; // between two questions to all members what they hold
const PULLED_S = 5; // age up to which an answer to that is good when a pull has ended
const EVENTS_S = 4; // between two questions what happened
const AGAIN_MAX_S = 5; // between two tries while the agent does not answer
const WAIT_MS = 15000; // for an answer: members may take 10 s to say what they hold
const TEXT_MAX = 600; // characters of a text that others may have written
const MEMBERS_SHOWN = 30;
const IMAGES_SHOWN = 100;
const SOURCES_SHOWN = 6;
const EVENTS_SHOWN = 20;
const COLOURS = 6;

const at = (id) => document.getElementById(id);

// ---- Text.

/** A text as it may be shown: characters that nobody sees, or that turn lines round, are written out. */
function shown(value) {
  const text = String(value ?? "");
  const short = text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text;
  return short.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]/gu, (it) => `\\u{${it.codePointAt(0).toString(16)}}`);
}

function size(count) {
  let left = Number(count) || 0;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (left < 1024 || unit === "GiB") {
      return unit === "B" ? `${left} B` : `${left < 100 ? left.toFixed(1) : left.toFixed(0)} ${unit}`;
    }
    left /= 1024;
  }
  return "";
}

function time(seconds) {
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= 2 * length) {
      return `${Math.floor(seconds / length)} ${unit}`;
    }
  }
  return `${Math.round(seconds)} s`;
}

const pace = (rate) => (rate > 0 ? `${size(rate)}/s` : "–");
const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
const shortDigest = (digest) => String(digest ?? "").replace(/^sha(256|512):/, "").slice(0, 12);
const shortName = (name) => String(name ?? "").replace(/^docker\.io\/(library\/)?/, "");

// ---- Elements.

/** An element with a class and children; a child that is no element becomes text. */
function make(tag, kind = "", ...children) {
  const element = document.createElement(tag);
  if (kind) {
    element.className = kind;
  }
  element.append(...children.map((it) => (it instanceof Node ? it : shown(it))));
  return element;
}

/** Give an element other children, unless they say the same: what has the focus or is being read stays. */
function fill(element, ...children) {
  const next = [...make("div", "", ...children).childNodes];
  const old = element.childNodes;
  if (old.length !== next.length || next.some((it, place) => !it.isEqualNode(old[place]))) {
    element.replaceChildren(...next);
  }
  return element;
}

const kept = new WeakMap();

/** Keep the children of an element as rows of a list: those that are known are changed, and stay where they are. */
function list(parent, rows, keyOf, create, change) {
  const known = kept.get(parent) ?? new Map();
  const next = new Map();
  let before = null;
  for (const row of rows) {
    const key = keyOf(row);
    const element = known.get(key) ?? create(row);
    next.set(key, element);
    change(element, row);
    const place = before === null ? parent.firstChild : before.nextSibling;
    if (place !== element) {
      parent.insertBefore(element, place);
    }
    before = element;
  }
  for (const [key, element] of known) {
    if (next.get(key) !== element) {
      element.remove();
    }
  }
  kept.set(parent, next);
}

function say(element, text) {
  const safe = shown(text);
  if (element.textContent !== safe) {
    element.textContent = safe;
  }
}

function show(element, isShown) {
  element.hidden = !isShown;
}

const name = (text) => make("span", "name", text);

// ---- What is wrong.

const SEVERITIES = { error: "Error", warning: "Warning" };
let told = null;

function showProblems(problems) {
  list(
    at("problems"),
    problems,
    (it) => [it.on, it.command, it.what.replace(/[0-9.]+ s\b/g, "")].join("\n"),
    () => make("li"),
    (element, it) => {
      element.className = it.severity === "error" ? "error" : "warning";
      const where = it.on ? `, on ${it.on}:` : ":";
      fill(
        element,
        make("div", "name", make("span", "severity", SEVERITIES[it.severity] ?? it.severity), it.what),
        make("div", "quiet", it.advice, where),
        make("code", "mend name", it.command),
      );
    },
  );
  show(at("well"), !problems.length);
  say(at("well"), "Nothing that this node knows of.");
  if (told !== problems.length) {
    say(at("news"), problems.length ? `${plural(problems.length, "thing")} wrong` : "Nothing is wrong");
    told = problems.length;
  }
}

// ---- Pulls in progress.

const colours = new Map();

/** The colour of a source: members have theirs by their place in the list, so that neighbours differ. */
function colour(source) {
  if (source === "upstream" || source === "cache") {
    return source;
  }
  return `member-${((colours.get(source) ?? 0) % COLOURS) + 1}`;
}

const SOURCES = { upstream: "upstream", cache: "cache, here already" };
const FOR = {
  members: "for other members, which take this node for a home",
  keeping: "to keep it here: a pin or an order",
};
const rates = new Map();

/** Bytes a second of a pull, from what it had when it was last looked at. */
function rate(pull) {
  const now = performance.now() / 1000;
  const key = pull.repository;
  const before = rates.get(key) ?? { at: now, bytes: pull.bytes, rate: 0 };
  const passed = now - before.at;
  const current =
    passed >= 0.5 ? { at: now, bytes: pull.bytes, rate: Math.max(0, pull.bytes - before.bytes) / passed } : before;
  rates.set(key, current);
  return current.rate;
}

function sourcesOf(pull) {
  const order = Object.entries(pull.sources).sort(([, one], [, other]) => other - one);
  const row = ([source, bytes]) => ({ source, bytes, text: SOURCES[source] ?? source });
  const first = order.slice(0, SOURCES_SHOWN).map(row);
  const rest = order.slice(SOURCES_SHOWN);
  if (rest.length) {
    const bytes = rest.reduce((sum, [, count]) => sum + count, 0);
    first.push({ source: rest[0][0], bytes, text: `${rest.length} more` });
  }
  return first;
}

function makePull() {
  const element = make("li");
  const bar = make("div", "bar");
  bar.setAttribute("role", "img");
  element.append(make("div", "line"), make("div", "quiet"), bar, make("ul", "sources"), make("div", "quiet"));
  return element;
}

function changePull(element, pull) {
  const [line, whom, bar, sources, failures] = element.children;
  const whole = pull.of_bytes ?? 0;
  const far = whole ? `${size(pull.bytes)} of ${size(whole)}` : `${size(pull.bytes)} so far`;
  const now = rate(pull);
  const figures = [far, ...(now > 0 ? [pace(now)] : []), time(pull.seconds)];
  fill(line, make("strong", "name", shortName(pull.image)), make("span", "figures", figures.join(", ")));
  say(whom, FOR[pull.for] ?? `for ${pull.clients.join(", ")}`);
  const rows = sourcesOf(pull);
  const share = (bytes) => (100 * bytes) / Math.max(whole, pull.bytes, 1);
  list(bar, rows, (it) => it.text, () => make("i"), (part, it) => {
    part.className = colour(it.source);
    part.style.width = `${share(it.bytes)}%`;
  });
  const spoken = rows.map((it) => `${it.text} ${size(it.bytes)}`).join(", ");
  bar.setAttribute("aria-label", shown(`${far}; ${spoken || "nothing has come yet"}`));
  list(sources, rows, (it) => it.text, () => make("li"), (item, it) => {
    fill(item, make("i", colour(it.source)), name(it.text), ` ${size(it.bytes)}`);
  });
  const last = pull.failures.at(-1);
  say(failures, last ? `On the way: ${last}` : "");
  show(failures, Boolean(last));
}

function showPulls(state) {
  state.members.forEach((it, place) => colours.set(it.name, place));
  list(at("pulls"), state.pulls, (it) => it.repository, makePull, changePull);
  for (const key of rates.keys()) {
    if (!state.pulls.some((it) => it.repository === key)) {
      rates.delete(key);
    }
  }
  show(at("no-pulls"), !state.pulls.length);
  say(at("paces"), state.upstream_pace > 0 ? `${pace(state.upstream_pace)} from registries` : "");
}

// ---- Members.

let allMembers = false;

function severityOf(member) {
  if (member.state === "left") {
    return "gone";
  }
  if (member.state === "dead" || member.trouble === "banned" || member.trouble === "out of reach") {
    return "error";
  }
  return member.state !== "alive" || member.trouble || member.flapping || member.contradicts ? "warning" : "";
}

const BY_NAME = new Intl.Collator("en", { numeric: true });
const ORDER = { error: 0, warning: 1, "": 2, gone: 3 };

function showMembers(members) {
  const order = [...members].sort(
    (one, other) => ORDER[severityOf(one)] - ORDER[severityOf(other)] || BY_NAME.compare(one.name, other.name),
  );
  const few = allMembers || order.length <= MEMBERS_SHOWN + 5 ? order : order.slice(0, MEMBERS_SHOWN);
  list(
    at("members"),
    few,
    (it) => it.name,
    () => {
      const row = make("tr");
      const head = make("th");
      head.scope = "row";
      row.append(head, make("td", "words"), make("td", "number"), make("td", "number wide"), make("td", "number wide"));
      return row;
    },
    (row, it) => {
      const [head, state, sends, trip, keys] = row.children;
      fill(head, name(it.name), make("span", "below name", it.peer.replace(/^https?:\/\//, "")));
      const word = it.flapping ? `${it.state}, flapping` : (it.trouble ?? it.state);
      fill(state, make("span", `state ${severityOf(it)}`.trim(), word), make("span", "below name", it.means));
      say(sends, it.itself ? "–" : pace(it.pace));
      say(trip, it.rtt_ms === null ? "–" : `${it.rtt_ms.toFixed(1)} ms`);
      say(keys, it.keys);
    },
  );
  const up = members.filter((it) => it.state === "alive").length;
  say(at("members-count"), up === members.length ? members.length : `${members.length}, ${up} of them alive`);
  show(at("all-members"), few.length < order.length);
  say(at("all-members"), `Show all ${order.length} members`);
}

// ---- Registries.

function registryLines(state) {
  const lines = state.outages.map((it) => {
    const mine = it.out_s === null ? [] : [`this node for ${time(it.out_s)}`];
    return { name: it.registry, text: `has not answered ${[...mine, ...it.members].join(", ")}`, isBad: true };
  });
  for (const it of state.budgets) {
    const left = it.limit === null ? `${it.remaining} pulls left` : `${it.remaining} of ${it.limit} pulls left`;
    const within = it.window_s ? ` within ${time(it.window_s)}` : "";
    const text = it.wait_s > 0 ? `nobody pulls for another ${time(it.wait_s)}` : `${left}${within}`;
    const whose = it.source ? ` (${it.source})` : "";
    lines.push({ name: it.registry, text: `${text}${whose}, as it said ${time(it.age_s)} ago`, isBad: it.wait_s > 0 });
  }
  return lines;
}

function showRegistries(state) {
  const lines = registryLines(state);
  list(
    at("registries"),
    lines.map((it, place) => ({ ...it, key: `${it.name} ${place}` })),
    (it) => it.key,
    () => make("li"),
    (element, it) => {
      element.className = it.isBad ? "error" : "";
      fill(element, make("strong", "name", it.name), " ", make("span", "name", it.text));
    },
  );
  show(at("registries-section"), lines.length > 0);
}

// ---- Images.

const NO_IMAGES = "No member holds an image yet. What is pulled or pushed through an agent appears here.";
let images = null;
let imagesAge = IMAGES_S; // how old the answer may be that is asked for next
let allImages = false;

function copiesOf(image) {
  const whole = plural(image.whole.length, "copy", "copies");
  return image.partial.length ? `${whole}, ${image.partial.length} in part` : whole;
}

function membersOf(image) {
  const names = image.whole.length ? image.whole : image.partial;
  const first = names.slice(0, 4).join(", ");
  return names.length > 4 ? `${first} and ${names.length - 4} more` : first;
}

function makeImage(row) {
  const element = make("tr");
  const head = make("th");
  head.scope = "row";
  const button = make("button", "link name");
  button.type = "button";
  button.setAttribute("aria-haspopup", "dialog");
  button.addEventListener("click", () => why(row.reference || row.digest));
  head.append(button, make("span", "below name"));
  element.append(head, make("td", "number"), make("td", "words"), make("td", "wide"), make("td", "number wide"));
  return element;
}

function changeImage(element, it) {
  const [head, bytes, copies, pinned, unused] = element.children;
  const [button, below] = head.children;
  say(button, shortName(it.reference) || shortDigest(it.digest));
  say(below, it.reference ? shortDigest(it.digest) : "no tag means it any more, or it was pulled by digest");
  say(bytes, size(it.bytes));
  fill(copies, copiesOf(it), make("span", "below name", membersOf(it)));
  const isLacking = it.pinned !== null && it.pinned !== "all" && it.whole.length < it.pinned;
  fill(pinned, it.pinned === null ? "–" : make("span", isLacking ? "state error" : "", `on ${it.pinned}`));
  say(unused, it.unused_s === null ? "–" : time(it.unused_s));
}

function showImages() {
  const pattern = at("pattern").value.trim().toLowerCase();
  const fitting = images.images.filter((it) => `${it.reference} ${it.digest}`.toLowerCase().includes(pattern));
  const few = allImages ? fitting : fitting.slice(0, IMAGES_SHOWN);
  list(at("images"), few, (it) => `${it.reference} ${it.digest}`, makeImage, changeImage);
  const count = images.images.length;
  say(at("images-count"), pattern ? `${fitting.length} of ${count}` : count);
  show(at("images-table"), fitting.length > 0);
  show(at("no-images"), !fitting.length);
  say(at("no-images"), count ? "No image has that in its name." : NO_IMAGES);
  show(at("find-image"), count > 10);
  show(at("more-images"), few.length < fitting.length);
  say(at("more-images"), `Show all ${fitting.length} images`);
  const silent = images.silent.map((it) => `${it.member} does not tell what it holds: ${it.reason}`);
  say(at("silent"), silent.slice(0, 3).join("; ") + (silent.length > 3 ? `; and ${silent.length - 3} more` : ""));
  show(at("silent"), silent.length > 0);
}

// ---- Why an image is here.

/** A table of texts; a cell has a line, and perhaps a quieter one below it. */
function table(heads, rows) {
  const head = make("tr", "", ...heads.map((it) => make("th", "", it)));
  for (const cell of head.children) {
    cell.scope = "col";
  }
  const cell = ([line, below]) => make("td", "name", line, ...(below ? [make("span", "below", below)] : []));
  const body = make("tbody", "", ...rows.map((row) => make("tr", "", ...row.map(cell))));
  return make("table", "", make("thead", "", head), body);
}

const counts = (bytesByName) =>
  Object.entries(bytesByName).sort(([, one], [, other]) => other - one)
    .map(([source, bytes], place, all) => (all.length === 1 ? source : `${source} ${size(bytes)}`)).join(", ");

const ORIGINS = { runtime: "the runtime's own", cache: "before this start, or pushed" };

function originOf(row) {
  if (row.origin === null) {
    return row.absent ?? "–";
  }
  return ORIGINS[row.origin.how] ?? (counts(row.origin.sources) || "what an earlier fetch left");
}

function whyParts(answer) {
  const parts = [];
  if (answer.digest) {
    parts.push(make("p", "name", `It is ${answer.digest}.`));
  }
  for (const it of answer.tag?.said ?? []) {
    const said = `${it.member} says ${shortDigest(it.digest)}, ${time(it.age_seconds)} ago (${it.authority})`;
    parts.push(make("p", "name", said));
  }
  if (answer.registry) {
    parts.push(make("p", "name", `Registry ${answer.registry.name}: ${answer.registry.refusal ?? "may be asked"}.`));
  }
  const rows = answer.content.map((it) => {
    const others = it.holders.filter((holder) => holder.member !== answer.node && "bytes" in holder);
    return [
      [`${it.kind} ${shortDigest(it.digest)}`, it.bytes === null ? "size not known" : size(it.bytes)],
      [it.here ?? "not here", originOf(it)],
      [others.map((holder) => holder.member).slice(0, 5).join(", ") || "–"],
    ];
  });
  if (rows.length) {
    parts.push(table(["What", "Here, and from whom", "Also on"], rows));
  }
  const failures = answer.content.flatMap((it) => it.fetches.flatMap((fetched) => fetched.failures));
  for (const it of [...new Set(failures)].slice(-5)) {
    parts.push(make("p", "name", `On the way: ${it}`));
  }
  for (const it of answer.notes) {
    parts.push(make("p", "quiet name", it));
  }
  return parts;
}

let asked = 0;

async function why(query) {
  const number = ++asked;
  say(at("why-title"), `Why ${shortName(query)} is here`);
  fill(at("why-body"), make("p", "quiet", "Members are asked…"));
  at("why").showModal();
  let parts;
  try {
    const path = `/api/v1/why?q=${encodeURIComponent(query)}`;
    const response = await fetch(path, { signal: AbortSignal.timeout(2 * WAIT_MS) });
    const answer = await response.json();
    parts = response.ok ? whyParts(answer) : [make("p", "name", answer.error)];
  } catch {
    parts = [make("p", "", "The agent did not answer.")];
  }
  if (number === asked) {
    fill(at("why-body"), ...parts, make("code", "mend name", `skvaller why ${query}`));
  }
}

// ---- What happened.

const EVENTS = {
  "agent-started": (it) => `This agent began, version ${it.version}`,
  "pull-began": (it) => `${it.client} began to pull ${shortName(it.image)}`,
  "pull-ended": (it) => {
    const from = Object.keys(it.sources).length ? `, from ${counts(it.sources)}` : "";
    const why = it.why_upstream ? ` (upstream: ${it.why_upstream})` : "";
    const error = it.error ? `; it did not get all: ${it.error}` : "";
    const took = `${size(it.bytes)} in ${it.seconds.toFixed(1)} s`;
    return `${it.client} pulled ${shortName(it.image)}: ${took}${from}${why}${error}`;
  },
  "member-joined": (it) => `${it.member} joined`,
  "member-suspected": (it) => `${it.member} does not answer`,
  "member-refuted": (it) => `${it.member} lives after all`,
  "member-died": (it) => `${it.member} is dead`,
  "member-left": (it) => `${it.member} left`,
  "ban-began": (it) => `${it.member} sent wrong bytes: it is asked for nothing for ${time(it.seconds)}`,
  "ban-ended": (it) => `${it.member} is asked again`,
  "budget-low": (it) => `${it.registry} lets members pull ${it.left} times more`,
  "budget-spent": (it) => `${it.registry} lets nobody pull for ${time(it.wait_s)}`,
  "budget-back": (it) => `${it.registry} may be asked as usual again`,
  "outage-began": (it) => `${it.registry} does not answer: ${it.why}`,
  "outage-ended": (it) => (it.answers ? `${it.registry} answers again` : `Nobody asks ${it.registry} any more`),
  "cache-stopped": (it) => `The cache keeps nothing that arrives: ${it.why}`,
  "cache-works": () => "The cache keeps what arrives again",
  "cache-evicted": (it) => `${plural(it.blobs, "blob")} left the cache to make room`,
  "keys-changed": (it) => `The cluster has other keys: ${it.ids.join(", ")}`,
  "pin-lacking": (it) => `${shortName(it.image)} is pinned to this node, and not whole here: ${it.why}`,
  "pin-whole": (it) => `${shortName(it.image)}, which is pinned to this node, is whole here`,
};

/** A line about an event; of a kind that this page does not know, all that is in it. */
function eventText(it) {
  const known = EVENTS[it.kind];
  if (known) {
    return known(it);
  }
  const fields = Object.entries(it).filter(([key]) => !["number", "time_unix_s", "kind"].includes(key));
  const rest = fields.map(([key, value]) => `${key} ${typeof value === "object" ? JSON.stringify(value) : value}`);
  return `${String(it.kind).replaceAll("-", " ")}: ${rest.join(", ")}`;
}

const NO_EVENTS = ["lost", "dropped", "heartbeat"]; // what the endpoint says of its answer
let events = [];
let after = null;

function takeEvents(lines) {
  const rows = lines.split("\n").filter(Boolean).map((line) => JSON.parse(line));
  after = rows.reduce((last, it) => Math.max(last, it.number), after ?? 0);
  events = [...rows.filter((it) => !NO_EVENTS.includes(it.kind)).reverse(), ...events].slice(0, EVENTS_SHOWN);
  list(at("events"), events, (it) => it.number, (it) => {
    const when = new Date(1000 * it.time_unix_s);
    const stamp = make("time", "", when.toLocaleTimeString([], { hour12: false }));
    stamp.dateTime = when.toISOString();
    return make("li", "name", stamp, eventText(it));
  }, () => {});
  show(at("events-section"), events.length > 0);
}

// ---- Asking.

let version = null;
let wasPulling = false;
let lostSince = null;

function answered() {
  if (lostSince !== null) {
    lostSince = null;
    show(at("lost"), false);
    document.body.classList.remove("old");
    look("images");
  }
}

function unanswered(error) {
  lostSince ??= new Date();
  document.body.classList.add("old");
  const since = lostSince.toLocaleTimeString([], { hour12: false });
  const said = `The agent has not answered since ${since} (${error.message}).`;
  say(at("lost"), `${said} What is below is old; this page tries again by itself. On the node: skvaller doctor`);
  show(at("lost"), true);
}

async function ask(path, headers = {}) {
  const response = await fetch(path, { headers, signal: AbortSignal.timeout(WAIT_MS) });
  if (!response.ok) {
    const error = new Error(`${path} answered ${response.status}`);
    error.status = response.status;
    throw error;
  }
  return response;
}

function showState(state) {
  if (version !== null && version !== state.version) {
    location.reload(); // the agent has been upgraded, and its page with it
    return;
  }
  version = state.version;
  say(at("node"), state.node);
  const count = state.problems.length;
  document.title = `${shown(state.node)}: ${count ? `${plural(count, "thing")} wrong` : "well"} – Skvaller`;
  const limit = state.cache.limit_bytes ? ` of ${size(state.cache.limit_bytes)}` : "";
  const ready = state.ready ? "ready" : "not ready for pulls yet";
  const cache = `cache ${size(state.cache.bytes)}${limit}`;
  const figures = [ready, plural(state.members.length, "member"), cache, plural(state.pins.count, "pin")];
  say(at("summary"), `As this node sees it: ${figures.join(", ")}. Version ${state.version}.`);
  const isPulling = state.pulls.length > 0;
  if (wasPulling && !isPulling) {
    imagesAge = PULLED_S;
    look("images");
  }
  wasPulling = isPulling;
  showProblems(state.problems);
  showPulls(state);
  showMembers(state.members);
  showRegistries(state);
  at("main").setAttribute("aria-busy", "false");
}

/** What is asked for again and again: each gives the seconds until the next time. */
const QUESTIONS = {
  async state() {
    const state = await (await ask("/api/v1/status")).json();
    answered();
    showState(state);
    return state.pulls.length ? PULLING_S : LOOK_S;
  },
  async images() {
    images = await (await ask("/api/v1/images", { "Cache-Control": `max-age=${imagesAge}` })).json();
    imagesAge = IMAGES_S;
    showImages();
    return IMAGES_S;
  },
  async events() {
    const query = after === null ? "within_s=3600" : `after=${after}`;
    try {
      takeEvents(await (await ask(`/api/v1/events?${query}`)).text());
    } catch (error) {
      if (error.status === 404) {
        return Infinity; // an agent without events
      }
      throw error;
    }
    return EVENTS_S;
  },
};

const timers = new Map();
const failures = new Map();
const running = new Set();

async function look(question) {
  clearTimeout(timers.get(question));
  if (document.hidden || running.has(question)) {
    return; // nobody looks, or the last answer is still to come
  }
  running.add(question);
  let next;
  try {
    next = await QUESTIONS[question]();
    failures.delete(question);
  } catch (error) {
    const count = (failures.get(question) ?? 0) + 1;
    failures.set(question, count);
    next = Math.min(count, AGAIN_MAX_S);
    if (question === "state") {
      unanswered(error);
    }
  }
  running.delete(question);
  if (next !== Infinity) {
    timers.set(question, setTimeout(look, 1000 * next, question));
  }
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) {
    Object.keys(QUESTIONS).forEach(look);
  }
});
at("pattern").addEventListener("input", showImages);
at("why-close").addEventListener("click", () => at("why").close());
at("all-members").addEventListener("click", () => {
  allMembers = true;
  look("state");
});
at("more-images").addEventListener("click", () => {
  allImages = true;
  showImages();
});
Object.keys(QUESTIONS).forEach(look);
