// The designer while a schedule is edited: one request at a time, the newest edit next, answers put in place by id.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const bench = document.getElementById("bench");
  const PARTS = ["problem", "headline", "run", "picture", "compared", "tabs", "panel"];

  // A file too large is refused here: nothing that was typed is lost, and no gigabyte is sent.
  for (const form of document.querySelectorAll("form[data-limit]")) {
    form.addEventListener("submit", (event) => {
      const limit = Number(form.dataset.limit), said = form.querySelector("[data-said]");
      const size = [...form.querySelectorAll("input[type=file]")].flatMap((i) => [...i.files]).reduce((s, f) => s + f.size, 0);
      said.hidden = size <= limit;
      if (size <= limit) return;
      event.preventDefault();
      said.textContent = `The files have ${(size / 2 ** 20).toFixed(0)} MiB together; the server takes ${(limit / 2 ** 20).toFixed(0)} MiB. Keep every tenth line, or fewer columns.`;
      said.scrollIntoView({ block: "nearest" });
    });
  }
  const go = () => { const done = document.querySelector("[data-go]"); if (done) location.replace(done.dataset.go); };
  document.addEventListener("htmx:after:swap", go);
  if (!bench) return;

  // --- asking ---------------------------------------------------------------------------------------------------
  const narrow = matchMedia("(max-width: 680px)"); // of the two pictures only the one that is seen is asked for
  narrow.addEventListener("change", () => ask(location.pathname + location.search, null));
  let busy = false, next = null, turn = 0, newest = 0, held = null;
  function ask(address, push, source) {
    next = { address, push, turn, source, number: (newest += 1) };
    if (!busy) run();
  }
  async function run() {
    busy = true;
    while (next) {
      const asked = next;
      next = null;
      try {
        const answer = await fetch(asked.address, { headers: { "HX-Request": "true", "Designer-Style": narrow.matches ? "narrow" : "wide" } });
        const text = await answer.text();
        if (asked.turn !== turn) continue; // the history went elsewhere meanwhile
        const address = answer.headers.get("Designer-Address");
        if (!address) { problem(text); continue; }
        const page = new DOMParser().parseFromString(text, "text/html");
        const refused = page.querySelector("#problem .problem"), pending = page.querySelector("[data-pending]");
        if (refused && asked.push === false && asked.source) continue; // half a number: said when it is finished
        show(page, asked.source);
        if (pending) setTimeout(() => { if (asked.number === newest && asked.turn === turn) ask(address, null, asked.source); }, 120);
        if (refused || asked.push === null) continue;
        if (asked.push && address !== location.pathname + location.search) history.pushState({}, "", address);
      } catch (error) {
        problem("The server does not answer; is it still running? What you changed is still here.");
      }
    }
    busy = false;
  }
  function problem(text) {
    const said = new DOMParser().parseFromString(text, "text/html").body.textContent.trim();
    const place = document.getElementById("problem"), line = document.createElement("p");
    line.className = "problem";
    line.setAttribute("role", "alert");
    line.textContent = said;
    place.replaceChildren(line);
  }
  function show(page, source) {
    const focus = document.activeElement, id = focus && focus.id;
    const refused = page.querySelector("#problem .problem");
    for (const name of PARTS) {
      const old = document.getElementById(name), fresh = page.getElementById(name);
      if (!old || !fresh || (refused && name !== "problem")) continue;
      if (held && /^(run|tabs|panel)$/.test(name)) continue; // made anew when the point is let go
      const typing = source && old.contains(source) && source.matches("input, textarea");
      if (typing && old.dataset.panel === fresh.dataset.panel) base(old, fresh);
      else old.replaceWith(fresh);
    }
    dress();
    if (held) draw();
    if (id && document.activeElement !== document.getElementById(id)) document.getElementById(id)?.focus({ preventScroll: true });
  }
  // A form that is being typed in stays, but goes on from the new state; what the panel says of it is renewed.
  function base(old, fresh) {
    for (const said of fresh.querySelectorAll("[data-said-of]")) old.querySelector(`#${said.id}`)?.replaceWith(said);
    for (const input of fresh.querySelectorAll("input[type=hidden]")) {
      for (const mine of old.querySelectorAll(`input[type=hidden][name="${input.name}"]`)) mine.value = input.value;
    }
  }
  function filled(form, button) {
    const data = new URLSearchParams(new FormData(form));
    if (button && button.name) data.append(button.name, button.value);
    return `/designer?${data}`;
  }

  // --- forms and links --------------------------------------------------------------------------------------------
  bench.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-live]")) return;
    event.preventDefault();
    ask(filled(event.target, event.submitter), true);
  });
  bench.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-live]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    ask(link.getAttribute("href"), true);
  });
  bench.addEventListener("input", (event) => {
    const box = event.target, form = box.form;
    if (!form || !form.matches("[data-live]")) return;
    if (box.type === "range") slid(box);
    if (/^(points|form)$/.test(form.id)) ask(filled(form), false, box); // the others wait until a value is finished
  });
  bench.addEventListener("change", (event) => {
    const form = event.target.form;
    if (form && form.matches("[data-live]")) ask(filled(form), true, event.target);
  });
  window.addEventListener("popstate", () => {
    turn += 1;
    held = null;
    ask(location.pathname + location.search, null);
  });

  // --- what only a script can offer -------------------------------------------------------------------------------
  function dress() {
    for (const box of bench.querySelectorAll("input[data-low]")) {
      if (box.dataset.dressed) continue;
      box.dataset.dressed = "1";
      const slider = document.createElement("input");
      const log = "log" in box.dataset, at = (v) => (log ? Math.log10(v) : Number(v));
      Object.assign(slider, { type: "range", id: `${box.id}-slider`, min: at(box.dataset.low), max: at(box.dataset.high), step: "any" });
      slider.setAttribute("aria-label", box.name.slice(2));
      slider.value = Number(box.value) > 0 || !log ? at(box.value) : slider.min;
      box.after(slider);
    }
    for (const text of bench.querySelectorAll("pre[data-copy]")) {
      if (text.querySelector("button") || !navigator.clipboard) continue;
      const button = document.createElement("button");
      Object.assign(button, { type: "button", className: "copy", textContent: "Copy" });
      button.onclick = async () => {
        await navigator.clipboard.writeText(text.querySelector("code").textContent);
        button.textContent = "Copied";
      };
      text.prepend(button);
    }
  }
  function slid(slider) {
    const box = slider.previousElementSibling;
    const value = "log" in box.dataset ? 10 ** Number(slider.value) : Number(slider.value);
    box.value = Number(slider.max) > 1 ? Math.round(value) : Number(value.toPrecision(3));
  }

  // --- points: mouse, touch, keyboard -----------------------------------------------------------------------------
  const shown = () => [...bench.querySelectorAll("#picture .handles")].find((g) => g.getClientRects().length);
  const handles = (group) => [...group.querySelectorAll(".handle")];
  const points = (group) => handles(group).map((h) => ({ at: Number(h.dataset.at), lr: Number(h.dataset.lr) }));
  const axes = (group) => Object.fromEntries(Object.entries(group.dataset).map(([k, v]) => [k, Number(v)]));
  function place(group, event) {
    const a = axes(group), m = group.ownerSVGElement.getScreenCTM().inverse();
    const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(m);
    const y = a.y1 - ((p.y - a.top) / a.height) * (a.y1 - a.y0);
    const top = a.y0 + 0.999 * (a.y1 - a.y0), inside = Math.min(Math.max(y, a.y0), top);
    return { at: Math.round(((p.x - a.left) / a.width) * a.steps), lr: a.log ? 10 ** inside : inside };
  }
  function settle(list, k, at, lr, steps) {
    const last = k === list.length - 1 && k > 0 && list[k].at >= steps - 1;
    const low = k ? list[k - 1].at + 1 : 0, high = k < list.length - 1 ? list[k + 1].at - 1 : Math.max(steps - 1, list[k].at);
    list[k] = { at: last ? list[k].at : Math.min(Math.max(at, low), k ? high : Math.min(high, steps - 1)), lr: Number(lr.toPrecision(4)) };
  }
  function edited(list, more) {
    const data = new URLSearchParams(new FormData(document.getElementById("run")));
    for (const key of ["e.steps", "e.axis"]) data.delete(key);
    const a = axes(shown());
    data.set("steps", a.steps);
    data.set("how", "points");
    if (a.log) data.set("axis", "log");
    for (const p of list) { data.append("e.at", p.at); data.append("e.lr", p.lr); }
    if (more) data.set("e.do", more);
    return `/designer?${data}`;
  }
  // The handles and the line through them follow the hand at once; the server's picture comes after.
  function draw() {
    const group = shown();
    if (!group || !held) return;
    const a = axes(group), x = (at) => a.left + (at / a.steps) * a.width;
    const y = (lr) => a.top + ((a.y1 - (a.log ? Math.max(Math.log10(Math.max(lr, 1e-300)), a.y0) : lr)) / (a.y1 - a.y0)) * a.height;
    const all = handles(group);
    if (all.length !== held.list.length) return;
    const path = [];
    held.list.forEach((p, k) => {
      all[k].setAttribute("transform", `translate(${x(p.at).toFixed(1)} ${y(p.lr).toFixed(1)})`);
      all[k].classList.toggle("held", k === held.k);
      const b = held.list[k + 1], cuts = b && a.log ? 16 : 1;
      for (let i = 0; i < cuts; i += 1) {
        const s = i / cuts, at = b ? p.at + s * (b.at - p.at) : p.at, lr = b ? p.lr + s * (b.lr - p.lr) : p.lr;
        path.push(`${x(at).toFixed(1)} ${y(lr).toFixed(1)}`);
      }
    });
    group.querySelector(".drawn").setAttribute("d", `M${path.join("L")}`);
    group.querySelector(".readout").textContent = said(held.list[held.k]);
    for (const [name, key] of [["e.at", "at"], ["e.lr", "lr"]]) {
      const boxes = bench.querySelectorAll(`#points input[name="${name}"]`);
      if (boxes.length === held.list.length) held.list.forEach((p, k) => { boxes[k].value = p[key]; });
    }
  }
  const said = (p) => `step ${p.at.toLocaleString("en")}, rate ${p.lr.toExponential(2).replace("e-", "e\u2212")}`;

  bench.addEventListener("pointerdown", (event) => {
    const handle = event.target.closest?.(".handle"), group = shown();
    if (!handle || !group || event.button) return;
    event.preventDefault();
    handle.focus({ preventScroll: true });
    held = { k: handles(group).indexOf(handle), list: points(group), moved: false, pointer: event.pointerId };
    root.classList.add("dragging");
    draw();
  });
  window.addEventListener("pointermove", (event) => {
    if (!held || event.pointerId !== held.pointer) return;
    const group = shown(), to = place(group, event);
    settle(held.list, held.k, to.at, to.lr, axes(group).steps);
    held.moved = true;
    draw();
    ask(edited(held.list), false);
  });
  const release = (event) => {
    if (!held || (event.pointerId !== undefined && event.pointerId !== held.pointer)) return;
    const { list, moved } = held;
    held = null;
    root.classList.remove("dragging");
    if (moved) ask(edited(list), true);
  };
  window.addEventListener("pointerup", release);
  window.addEventListener("pointercancel", release);
  bench.addEventListener("touchmove", (event) => { if (held) event.preventDefault(); }, { passive: false });
  bench.addEventListener("dblclick", (event) => {
    const group = shown();
    if (!group || !event.target.matches(".pad")) return;
    const to = place(group, event), list = points(group);
    const k = list.findIndex((p) => p.at >= to.at);
    if (k === 0 || (k > 0 && list[k].at === to.at)) return;
    list.splice(k < 0 ? list.length : k, 0, { at: to.at, lr: Number(to.lr.toPrecision(3)) });
    ask(edited(list), true);
  });
  bench.addEventListener("keydown", (event) => {
    const handle = event.target.closest?.(".handle"), group = shown();
    if (!handle || !group) return;
    const list = points(group), k = handles(group).indexOf(handle), a = axes(group), far = event.shiftKey ? 10 : 1;
    if (k < 0) return;
    const up = { ArrowUp: 1, ArrowDown: -1 }[event.key], right = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (up || right) {
      const now = waiting && waiting.list.length === list.length ? waiting.list : list;
      const peak = (a.log ? 10 ** a.y1 : a.y1) / 1.25, lr = a.log ? now[k].lr * 1.02 ** ((up || 0) * far) : now[k].lr + ((up || 0) * far * peak) / 100;
      const highest = (a.log ? 10 ** a.y1 : a.y1) * 0.999;
      settle(now, k, now[k].at + (right || 0) * far * Math.max(1, Math.round(a.steps / 500)), Math.min(Math.max(lr, 0), highest), a.steps);
      waiting = { list: now };
      held = { k, list: now, pointer: null };
      draw();
      held = null;
      ask(edited(now), false);
      clearTimeout(rest);
      rest = setTimeout(() => { ask(edited(now), true); waiting = null; }, 400); // one entry of the history a burst of keys
    } else if (event.key === "Delete" || event.key === "Backspace") {
      ask(edited(list, `remove-${k + 1}`), true);
    } else if (event.key === "+" || event.key === "Insert") {
      ask(edited(list, `add-${k + 1}`), true);
    } else {
      return;
    }
    event.preventDefault();
  });
  let waiting = null, rest = 0;
  dress();
})();
