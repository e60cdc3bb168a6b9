// The runs: forms that fetch their part only, plots that can be read, dragged and zoomed, runs that are watched.
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  let asked = 0, drawn = 0;

  // --- parts of pages -------------------------------------------------------------------------------------------
  const addressOf = (form, button) => {
    const data = new FormData(form, button);
    const query = new URLSearchParams();
    for (const [name, value] of data) if (value !== "") query.append(name, value);
    const text = query.toString();
    return form.getAttribute("action") + (text ? `?${text}` : "");
  };

  async function fetchPart(address, target, { silent = false } = {}) {
    const ticket = ++asked;
    let text;
    try {
      const answer = await fetch(address, { headers: { "HX-Request": "true" } });
      text = await answer.text();
      if (silent && !answer.ok) return false;
    } catch {
      if (silent) return false;
      text = "<p class=\"problem\" role=\"alert\">The server does not answer: is thalweg web still running?</p>";
    }
    const old = document.querySelector(target);
    if (ticket < drawn || !old) return false;
    drawn = ticket;
    const fresh = new DOMParser().parseFromString(text, "text/html").querySelector(target);
    if (fresh) replace(old, fresh);
    else { // a sentence of what was wrong: what was shown stays
      old.querySelectorAll(":scope > .refused").forEach((node) => node.remove());
      const said = document.createElement("div");
      said.className = "refused";
      said.innerHTML = text;
      old.prepend(said);
      return false;
    }
    return true;
  }

  function replace(old, fresh) {
    const held = document.activeElement && old.contains(document.activeElement) ? keyOf(document.activeElement) : null;
    const open = [...old.querySelectorAll("details")].map((node) => node.open);
    const ticks = new Map([...old.querySelectorAll("input[type=checkbox]")].map((box) => [box.value, box.checked]));
    old.replaceWith(fresh);
    fresh.querySelectorAll("details").forEach((node, k) => { node.open = open[k] ?? node.open; });
    fresh.querySelectorAll("input[type=checkbox]").forEach((box) => { box.checked = ticks.get(box.value) ?? box.checked; });
    if (held) [...fresh.querySelectorAll("a, button, input, summary, [tabindex]")].find((node) => keyOf(node) === held)?.focus();
    if (fresh.dataset.address) history.replaceState(history.state, "", fresh.dataset.address);
    for (const name of ["from", "to"]) {
      const input = document.getElementById(name);
      if (input && name in fresh.dataset && document.activeElement !== input) input.value = fresh.dataset[name];
    }
    prepare();
  }
  const keyOf = (node) => `${node.tagName} ${node.getAttribute("href") || node.value || node.className || node.textContent}`;

  const ask = (form, button, options) => fetchPart(addressOf(form, button), form.dataset.target, options);

  document.addEventListener("submit", (event) => {
    const form = event.target, button = event.submitter;
    if (!form.dataset.target || button?.hasAttribute("formaction")) return;
    event.preventDefault();
    ask(form, button);
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-now]")) ask(event.target.form);
  });
  let typing;
  document.addEventListener("input", (event) => {
    if (!event.target.matches("[data-typed]")) return;
    clearTimeout(typing);
    typing = setTimeout(() => ask(event.target.form), 200);
  });
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });

  // --- plots ----------------------------------------------------------------------------------------------------
  const shown = (plot) => [...plot.querySelectorAll("svg.chart")].find((svg) => svg.getClientRects().length);
  const short = (value) => String(Number(Number(value).toPrecision(6)));

  class Plot {
    constructor(node) {
      this.node = node;
      this.data = JSON.parse(node.dataset.points);
      this.readout = node.querySelector(".readout");
      this.lead = this.data.lines.reduce((a, b) => (b.x.length > a.x.length ? b : a), { x: [] });
      this.at = -1;
      node.addEventListener("pointermove", (event) => this.moved(event));
      node.addEventListener("pointerdown", (event) => this.pressed(event));
      node.addEventListener("pointerup", (event) => this.released(event));
      node.addEventListener("pointercancel", () => this.dropped());
      node.addEventListener("keydown", (event) => this.keyed(event));
      node.addEventListener("dblclick", () => go("all"));
    }
    frame() {
      const svg = shown(this.node);
      const [left, top, width, height] = svg.dataset.frame.split(" ").map(Number);
      return { svg, left, top, width, height };
    }
    share(value) {
      const { low, high, log } = this.data;
      return log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
    }
    value(share) {
      const { low, high, log } = this.data;
      return log ? low * (high / low) ** share : low + share * (high - low);
    }
    under(event) {
      const { svg, left, width } = this.frame();
      const box = svg.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
      return Math.min(1, Math.max(0, (x - left) / width));
    }
    nearest(line, value) {
      let first = 0, last = line.x.length - 1;
      while (first < last) {
        const middle = (first + last) >> 1;
        if (line.x[middle] < value) first = middle + 1; else last = middle;
      }
      return first > 0 && value - line.x[first - 1] < line.x[first] - value ? first - 1 : first;
    }
    read(value) {
      if (!this.lead.x.length) return;
      this.at = this.nearest(this.lead, value);
      const place = this.lead.x[this.at], said = [];
      const { left, top, height, width, svg } = this.frame();
      svg.querySelectorAll(".cursor").forEach((node) => node.remove());
      const cursor = document.createElementNS(SVG, "path");
      cursor.setAttribute("class", "cursor");
      cursor.setAttribute("d", `M${(left + this.share(place) * width).toFixed(1)} ${top}v${height}`);
      svg.append(cursor);
      const many = this.data.lines.length > 1;
      for (const line of this.data.lines) {
        if (!line.x.length) continue;
        const k = this.nearest(line, place);
        const smooth = line.smooth ? `, average ${short(line.smooth[k])}` : "";
        said.push(`${many ? `${line.name}: ` : ""}${short(line.y[k])}${smooth}${many && line.x[k] !== place ? ` at ${short(line.x[k])}` : ""}`);
      }
      const step = this.data.across === "optimizer step" ? "" : ` (step ${this.lead.step[this.at]})`;
      this.readout.replaceChildren();
      for (const words of [`${this.data.across} ${short(place)}${step}`, ...said]) {
        const span = document.createElement("span");
        span.textContent = words;
        this.readout.append(span, " ");
      }
    }
    moved(event) {
      const share = this.under(event);
      if (this.from === undefined) { this.read(this.value(share)); return; }
      const { svg, left, top, width, height } = this.frame();
      this.band ??= svg.appendChild(document.createElementNS(SVG, "rect"));
      const [a, b] = [Math.min(share, this.from), Math.max(share, this.from)];
      this.band.setAttribute("class", "drag");
      for (const [name, value] of Object.entries({ x: left + a * width, y: top, width: (b - a) * width, height })) {
        this.band.setAttribute(name, value.toFixed(1));
      }
    }
    pressed(event) {
      if (event.button !== 0 || event.pointerType === "touch" || !event.target.closest("svg.chart")) return;
      this.from = this.under(event);
      this.node.setPointerCapture(event.pointerId);
    }
    released(event) {
      const from = this.from, to = this.under(event);
      this.dropped();
      if (from !== undefined && Math.abs(to - from) > 0.01) zoom(this.value(Math.min(from, to)), this.value(Math.max(from, to)));
    }
    dropped() {
      this.from = undefined;
      this.band?.remove();
      this.band = undefined;
    }
    keyed(event) {
      if (event.target !== this.node || event.ctrlKey || event.metaKey || event.altKey) return;
      const last = this.lead.x.length - 1, far = event.shiftKey ? Math.max(1, last >> 4) : 1;
      const moves = { ArrowRight: this.at + far, ArrowLeft: this.at < 0 ? last : this.at - far, Home: 0, End: last };
      const zooms = { "+": "in", "=": "in", "-": "out", 0: "all" };
      if (event.key in moves) this.read(this.lead.x[Math.min(last, Math.max(0, moves[event.key]))]);
      else if (event.key in zooms) go(zooms[event.key]);
      else if (event.key === "Escape") this.dropped();
      else return;
      event.preventDefault();
    }
  }

  const form = () => document.querySelector("form.controls");
  function zoom(low, high) {
    const places = Math.max(0, Math.min(12, 3 - Math.floor(Math.log10(high - low))));
    form().elements.from.value = String(Number(low.toFixed(places)));
    form().elements.to.value = String(Number(high.toFixed(places)));
    ask(form());
  }
  const go = (move) => form().querySelector(`button[value="${move}"]`).click();

  // --- what is watched ------------------------------------------------------------------------------------------
  let stream, again;
  function watch() {
    const main = document.querySelector("[data-live]");
    stream?.close();
    if (!main || document.hidden) return; // a hidden page lets its connection go: browsers have six for a server
    const said = document.getElementById("watch");
    let busy = false, more = false;
    const refresh = async () => {
      if (busy) { more = true; return; }
      busy = true;
      if (!form().contains(document.activeElement) || !document.activeElement.matches("input")) await ask(form(), null, { silent: true });
      busy = false;
      if (more) { more = false; setTimeout(refresh, 300); }
    };
    stream = new EventSource(`/runs/live?run=${encodeURIComponent(main.dataset.live)}`);
    stream.addEventListener("open", () => { said.textContent = "Watching: the curve grows as the run does."; });
    stream.addEventListener("grown", refresh);
    stream.addEventListener("ended", async (event) => {
      stream.close();
      main.removeAttribute("data-live");
      said.textContent = JSON.parse(event.data).why;
      said.className = "said";
      await ask(form(), null, { silent: true });
    });
    stream.addEventListener("error", () => {
      said.textContent = stream.readyState === EventSource.CLOSED
        ? "This page is not watched: the server serves no more streams. Reload to see what is new."
        : "The server does not answer; trying again.";
    });
  }
  document.addEventListener("visibilitychange", watch);

  function prepare() {
    document.querySelectorAll(".plot[data-points]").forEach((node) => { new Plot(node); });
    clearTimeout(again);
    const next = document.querySelector("[data-again]");
    if (next) {
      again = setTimeout(() => {
        const asking = form() || document.getElementById("browse");
        if (document.hidden) prepare();
        else ask(asking, null, { silent: true }).then((done) => { if (!done) prepare(); });
      }, 1000 * Number(next.dataset.again));
    }
  }
  document.querySelectorAll(".needs-script").forEach((node) => { node.hidden = false; });
  prepare();
  watch();
})();
