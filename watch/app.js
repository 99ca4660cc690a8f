
// The live page: polls for what is new, shows samples and their tokens. Every text of a run is put in as text, never as HTML; the
// curves are HTML of the report's own drawing code, which escapes.
(function () {
  const $ = function (id) { return document.getElementById(id); };
  const FILTERS = [["", "all samples"], ["ok", "right"], ["wrong", "wrong"], ["close", "wrong but close"], ["unparsed", "unparsed"], ["failed", "checker failed"],
    ["mixed", "languages mixed"], ["truncated", "truncated"]];
  const PAGE = 100;
  let version = null, state = null, rows = [], selected = -1, table = null, follow = true, shown = null, request = 0;

  function element(name, text, className) {
    const e = document.createElement(name);
    if (text !== undefined) e.textContent = text;
    if (className) e.className = className;
    return e;
  }
  function number(v) { return v === null || v === undefined ? "–" : String(Number(Number(v).toPrecision(4))); }
  async function get(path) {
    const reply = await fetch(path);
    const text = await reply.text();
    if (!reply.ok) {
      let why = text;
      try { why = JSON.parse(text).error; } catch (e) { /* plain text */ }
      throw new Error(why);
    }
    return text;
  }

  // ---- the address keeps what is looked at ----
  function view() { return new URLSearchParams(location.hash.slice(1)); }
  function remember(changes) {
    const v = new URLSearchParams({run: $("run").value, step: follow ? "last" : $("step").value, filter: $("filter").value, q: $("search").value});
    if (changes) Object.keys(changes).forEach(function (k) { v.set(k, changes[k]); });
    history.replaceState(null, "", "#" + v);
  }

  // ---- curves and state ----
  function fill(select, options, value) {
    const same = select.options.length === options.length && options.every(function (o, i) { return select.options[i].value === o[0] && select.options[i].textContent === o[1]; });
    if (!same) {
      select.textContent = "";
      options.forEach(function (o) { const e = element("option", o[1]); e.value = o[0]; select.append(e); });
    }
    if (value !== undefined) select.value = value;
  }
  async function poll() {
    try {
      const next = JSON.parse(await get("/api/state"));
      $("status").className = "";
      $("status").textContent = next.runs.map(function (r) {
        return r.name + ": " + (r.kind || "run") + ", update " + r.step + (r.steps ? " of " + r.steps : "") + (r.finished ? ", finished" : ", not finished");
      }).join(" · ");
      document.title = next.runs.map(function (r) { return r.name + " " + r.step + (r.steps ? "/" + r.steps : ""); }).join(", ") + " – r1 watch";
      $("title").textContent = next.runs.map(function (r) { return r.name; }).join(", ");
      if (next.version !== version) {
        const first = state === null;
        state = next;
        version = next.version;
        const html = await get("/api/curves");
        const focus = document.activeElement && document.activeElement.closest("[data-chart]") ? document.activeElement.id : null;
        const open = Array.from($("curves").querySelectorAll("details[open]"), function (d) { return d.parentElement.id; });
        $("curves").innerHTML = html;
        open.forEach(function (id) { const figure = id ? $(id) : null; const d = figure ? figure.querySelector("details") : null; if (d) d.open = true; });
        if (focus && $(focus)) $(focus).focus();
        window.r1AttachCharts($("curves"));
        setUp(first);
      }
    } catch (e) {
      $("status").className = "bad";
      $("status").textContent = "r1 watch does not answer (" + e.message + "); the page shows what it had";
    }
    setTimeout(poll, 2000);
  }
  function setUp(first) {
    const v = view();
    fill($("run"), state.runs.map(function (r, i) { return [String(i), r.name]; }), first ? v.get("run") || "0" : undefined);
    $("run-label").hidden = state.runs.length === 1;
    const steps = state.runs[Number($("run").value) || 0].rollouts;
    const old = $("step").value;
    fill($("step"), steps.map(function (s) { return [String(s), String(s)]; }).reverse());
    if (first) {
      fill($("filter"), FILTERS, v.get("filter") || "");
      $("search").value = v.get("q") || "";
      follow = !v.get("step") || v.get("step") === "last";
    }
    const wanted = first && !follow ? v.get("step") : old;
    if (!follow && steps.map(String).includes(wanted)) $("step").value = wanted;
    else if (steps.length) $("step").value = String(steps[steps.length - 1]);
    if (first || follow) loadTable(first ? {group: v.get("group"), sample: v.get("sample")} : null);
  }

  // ---- the table ----
  function address(offset) {
    return "/api/samples?" + new URLSearchParams({run: $("run").value, step: $("step").value || "-1", filter: $("filter").value, q: $("search").value, offset: offset, limit: PAGE});
  }
  async function loadTable(open) {
    const mine = ++request;
    try {
      const page = JSON.parse(await get(address(0)));
      if (mine !== request) return;
      table = page;
      rows = page.rows;
      selected = -1;
      draw();
      fill($("filter"), FILTERS.map(function (f) {
        const n = f[0] === "" ? page.all : page.counts[f[0]] || 0;
        return [f[0], f[1] + " (" + n + ")"];
      }), $("filter").value);
      if (open && open.group !== null && open.group !== undefined) show(Number(open.group), Number(open.sample || 0), false);
    } catch (e) {
      rows = [];
      table = {total: 0};
      draw();
      $("count").textContent = e.message;
    }
  }
  // A cell that says what it is where the table has no head (phones).
  function fact(name, text) {
    const td = element("td", text);
    if (text !== "") td.dataset.name = name;
    return td;
  }

  function verdict(row) {
    const td = element("td");
    td.append(element("span", row.verdict, "verdict v-" + row.verdict));
    row.flags.forEach(function (f) {
      if (f === "close" || f === "mixed" || f === "truncated") td.append(element("span", f, "flag " + f));
    });
    return td;
  }
  function draw() {
    const body = $("table").tBodies[0];
    body.textContent = "";
    rows.forEach(function (row, i) {
      const tr = element("tr");
      const head = element("th");
      head.scope = "row";
      const button = element("button", row.prompt_id + "/" + row.sample);
      button.type = "button";
      head.append(button);
      tr.append(head, verdict(row), fact("reward", number(row.reward)), fact("advantage", number(row.advantage)), fact("tokens", String(row.tokens)), fact("gold", row.reference),
        fact("read", row.columns.answer_parsed || ""), element("td", row.end));
      tr.addEventListener("click", function () { select(i); show(row.group, row.sample, true); });
      body.append(tr);
    });
    $("count").textContent = table.total + (table.total === 1 ? " sample" : " samples") + (rows.length === table.total ? "" : ", the first " + rows.length + " are shown");
    $("more").hidden = rows.length >= table.total;
  }
  function select(i) {
    const all = $("table").tBodies[0].rows;
    if (all.length === 0) return;
    if (selected >= 0 && all[selected]) all[selected].removeAttribute("aria-selected");
    selected = Math.max(0, Math.min(all.length - 1, i));
    all[selected].setAttribute("aria-selected", "true");
    all[selected].scrollIntoView({block: "nearest"});
  }
  $("more").addEventListener("click", async function () {
    const page = JSON.parse(await get(address(rows.length)));
    rows = rows.concat(page.rows);
    draw();
  });

  // ---- one sample ----
  const SHADES = {
    logp: function (t) { return t.logp === undefined || t.logp === null ? 0 : -Math.min(4, Math.floor(-t.logp * 1.5)); },
    entropy: function (t) { return t.entropy === undefined || t.entropy === null ? 0 : Math.min(4, Math.floor(t.entropy * 2)); },
    advantage: function (t) { const u = last(t); return u ? Math.sign(u.advantage) * Math.min(4, Math.ceil(Math.abs(u.advantage) * 2)) : 0; },
    ratio: function (t) { const u = last(t); return u ? Math.sign(Math.log(u.ratio)) * Math.min(4, Math.ceil(Math.abs(Math.log(u.ratio)) * 10 - 0.01)) : 0; },
  };
  function last(t) { return t.updates ? t.updates[t.updates.length - 1] : null; }
  function facts(t, i) {
    let text = "token " + i + " " + JSON.stringify(t.text) + " (" + t.id + "), log-probability " + number(t.logp);
    if (t.entropy !== undefined) text += ", entropy " + number(t.entropy) + " nats";
    if (!t.updates) return text + "; not trained";
    t.updates.forEach(function (u) {
      text += "; update " + u.step + ": learner " + number(u.logp) + ", ratio " + number(u.ratio) + ", advantage " + number(u.advantage) + ", gradient " + number(u.gradient) +
        (u.kl ? ", KL " + number(u.kl) : "") + (u.clipped === 1 ? ", clipped below" : u.clipped === 2 ? ", clipped above" : "");
    });
    return text;
  }
  function tokens(s) {
    const box = element("div");
    box.append(element("h3", "Tokens"));
    const label = element("label", "Shade by ");
    const select = element("select");
    select.id = "shade";
    [["logp", "log-probability"], ["entropy", "entropy"], ["advantage", "advantage"], ["ratio", "ratio to the old policy"]].forEach(function (o) {
      const e = element("option", o[1]);
      e.value = o[0];
      select.append(e);
    });
    label.append(select);
    const line = element("div", undefined, "tokens");
    line.tabIndex = 0;
    line.setAttribute("role", "group");
    line.setAttribute("aria-label", "Tokens of the completion; left and right move from one to the next");
    const out = element("p", "Point at a token, or move with the arrow keys.", "note");
    out.id = "token-facts";
    out.setAttribute("role", "status");
    const spans = s.tokens_shown.map(function (t, i) {
      const span = element("span", t.text === "" ? "∅" : t.text.replace(/\n/g, "⏎\n"), "token");
      const clipped = (t.updates || []).some(function (u) { return u.clipped; });
      if (clipped) span.classList.add("clipped");
      if (!t.updates) span.classList.add("untrained");
      span.addEventListener("pointerenter", function () { mark(i); });
      span.addEventListener("click", function () { mark(i); });
      line.append(span);
      return span;
    });
    let at = -1;
    function mark(i) {
      if (spans.length === 0) return;
      if (spans[at]) spans[at].removeAttribute("aria-current");
      at = Math.max(0, Math.min(spans.length - 1, i));
      spans[at].setAttribute("aria-current", "true");
      out.textContent = facts(s.tokens_shown[at], at);
    }
    line.addEventListener("keydown", function (event) {
      const move = {ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: spans.length - 1}[event.key];
      if (move === undefined) return;
      event.preventDefault();
      mark(move);
    });
    function shade() {
      spans.forEach(function (span, i) { span.dataset.shade = String(SHADES[select.value](s.tokens_shown[i]) || 0); });
    }
    select.addEventListener("change", shade);
    shade();
    const count = s.tokens_shown.filter(function (t) { return (t.updates || []).some(function (u) { return u.clipped; }); }).length;
    box.append(label, line, out, element("p", count + " of " + s.tokens_shown.length + " tokens were clipped in some update (underlined); grey tokens were not trained.", "note"));
    return box;
  }
  async function show(group, sample, focus) {
    const section = $("detail");
    shown = {group: group, sample: sample};
    remember({group: group, sample: sample});
    let s;
    try {
      s = JSON.parse(await get("/api/sample?" + new URLSearchParams({run: $("run").value, step: $("step").value || "-1", group: group, sample: sample})));
    } catch (e) {
      section.textContent = e.message;
      section.hidden = false;
      return;
    }
    section.textContent = "";
    const top = element("div", undefined, "top"), title = element("h2", s.prompt_id + "/" + s.sample + ", update " + s.step), close = element("button", "Close");
    title.id = "detail-title";
    close.type = "button";
    close.addEventListener("click", hide);
    top.append(title, close);
    const list = element("dl");
    function fact(name, value) { if (value !== "") list.append(element("dt", name), element("dd", value)); }
    fact("verdict", s.verdict + (s.detail ? " (" + s.detail + ")" : "") + (s.kept ? "" : "; group dropped by dynamic sampling"));
    fact("reward", number(s.reward) + Object.keys(s.rewards).map(function (k) { return ", " + k + " " + number(s.rewards[k]); }).join(""));
    fact("advantage", number(s.advantage));
    fact("gold", s.gold);
    Object.keys(s.columns).forEach(function (k) { fact(k, s.columns[k]); });
    fact("stop", s.stop + ", " + s.tokens + " tokens");
    const others = element("p", "Its group: ", "facts");
    s.others.forEach(function (o) {
      const b = element("button", o.sample + ": " + o.verdict + " " + number(o.reward));
      b.type = "button";
      if (o.sample === s.sample) b.setAttribute("aria-current", "true");
      b.addEventListener("click", function () { show(group, o.sample, false); });
      others.append(b, " ");
    });
    section.append(top, list, others, element("h3", "Prompt"), element("pre", s.prompt, "prompt"), element("h3", "Completion"), element("pre", s.completion || "(empty)"), tokens(s));
    section.hidden = false;
    if (focus) { section.scrollIntoView({block: "start"}); section.focus({preventScroll: true}); }
  }
  function hide() {
    $("detail").hidden = true;
    shown = null;
    remember();
    const row = $("table").tBodies[0].rows[selected];
    if (row) row.querySelector("button").focus();
  }

  // ---- controls and keys ----
  $("controls").addEventListener("submit", function (event) { event.preventDefault(); });
  $("run").addEventListener("change", function () { follow = true; hide(); setUp(false); });
  $("step").addEventListener("change", function () { follow = $("step").selectedIndex === 0; remember(); loadTable(); });
  $("filter").addEventListener("change", function () { remember(); loadTable(); });
  let typed = null;
  $("search").addEventListener("input", function () { clearTimeout(typed); typed = setTimeout(function () { remember(); loadTable(); }, 200); });
  function keys() {
    $("keys").hidden = !$("keys").hidden;
    $("keys-button").setAttribute("aria-expanded", String(!$("keys").hidden));
  }
  $("keys-button").addEventListener("click", keys);
  function cycle(select, by) {
    const n = select.options.length;
    if (n === 0) return;
    select.selectedIndex = (select.selectedIndex + by + n) % n;
    select.dispatchEvent(new Event("change"));
  }
  const KEYS = {
    j: function () { select(selected + 1); }, k: function () { select(selected - 1); },
    Enter: function () { if (rows[selected]) show(rows[selected].group, rows[selected].sample, true); },
    f: function () { cycle($("filter"), 1); },
    "[": function () { if ($("step").selectedIndex !== $("step").options.length - 1) cycle($("step"), 1); },
    "]": function () { if ($("step").selectedIndex !== 0) cycle($("step"), -1); },
    "/": function () { $("search").focus(); }, t: function () { $("theme").click(); }, "?": keys,
  };
  addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      if (document.activeElement === $("search")) $("search").blur();
      else if (shown) hide();
      return;
    }
    const name = document.activeElement ? document.activeElement.tagName : "";
    if (name === "INPUT" || name === "SELECT" || (event.key === "Enter" && (name === "BUTTON" || name === "SUMMARY" || name === "A"))) return;
    if (KEYS[event.key]) { event.preventDefault(); KEYS[event.key](); }
  });
  poll();
})();
