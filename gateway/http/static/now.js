// Keeps the page current: asks /api/now each second, and draws the chart from /api/series.
// The page is whole without it. All words come from the gateway; here they are only put in their places.
"use strict";

(() => {
  const POLL_MS = 1000;
  const HIDDEN_POLL_MS = 10000;
  const LONGEST_WAIT_MS = 30000;
  const TIMEOUT_MS = 5000;
  const SPEAK_MS = 20000;
  const LEAST_RELOAD_MS = 5000;

  const byId = (id) => document.getElementById(id);

  async function ask(address) {
    const response = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!response.ok) throw new Error(`${address} answered ${response.status}`);
    return response.json();
  }

  function fill(root, facts) {
    for (const node of root.querySelectorAll("[data-field]")) {
      const value = facts[node.dataset.field];
      const text = value === null || value === undefined ? "" : String(value);
      if (node.textContent !== text) node.textContent = text;
      node.hidden = text === "";
    }
    if (facts.state !== undefined) root.dataset.state = facts.state;
  }

  function fillRows(list, name, items, fillOne) {
    const blank = byId(`${name}-row`).content.firstElementChild;
    while (list.children.length > items.length) list.lastElementChild.remove();
    while (list.children.length < items.length) list.append(blank.cloneNode(true));
    items.forEach((item, place) => fillOne(list.children[place], item));
  }

  function fillList(name, items, fillOne = fill) {
    fillRows(byId(`${name}-list`), name, items, fillOne);
  }

  function fillStatement(row, statement) {
    fill(row, statement);
    const link = row.querySelector("a");
    if (link.getAttribute("href") !== statement.address) link.setAttribute("href", statement.address);
  }

  // Hosts stay open or folded by name, wherever they come to stand; folded ones cost nothing.
  function fillHosts(hosts, devices) {
    const nameOf = (fold) => fold.querySelector(".name").textContent;
    const open = new Set([...byId("host-list").querySelectorAll("details[open]")].map(nameOf));
    const byHost = new Map(hosts.map((host) => [host.host_id, []]));
    for (const device of devices) if (open.has(device.host_id)) byHost.get(device.host_id)?.push(device);
    fillList("host", hosts, (row, host) => {
      const fold = row.querySelector("details");
      fill(fold.querySelector("summary"), host);
      fill(fold.querySelector("caption"), { host_id: host.host_id });
      if (fold.open !== open.has(host.host_id)) fold.open = !fold.open;
      if (fold.open) fillRows(fold.querySelector("tbody"), "device", byHost.get(host.host_id), fill);
    });
  }

  let devices = null;

  const spoken = { text: "", at: -SPEAK_MS };

  // For those who listen: what changed, in one sentence, and not each second.
  function speak(text) {
    const now = performance.now();
    if (text === spoken.text || now - spoken.at < SPEAK_MS) return;
    byId("spoken").textContent = text;
    spoken.text = text;
    spoken.at = now;
  }

  function show(now) {
    fill(byId("top"), now);
    const lead = now.mood === "quiet" ? null : now.events[0];
    const others = lead ? now.events.slice(1) : now.events;
    byId("lead").dataset.mood = now.mood;
    byId("lead-event").hidden = !lead;
    byId("lead-quiet").hidden = Boolean(lead);
    if (lead) fill(byId("lead-event"), lead);
    fill(byId("figures"), now.power);
    byId("figures").dataset.live = now.power.power_w === null ? "no" : "yes";
    fillList("fault", now.faults);
    byId("faults").hidden = now.faults.length === 0;
    fillList("event", others);
    byId("events").hidden = others.length === 0;
    fill(byId("device-words"), now.devices);
    devices = now.devices;
    fillHosts(devices.hosts, devices.devices);
    fill(byId("capability-words"), now.capability);
    fillList("capability", now.capability.held);
    fillList("hour", now.capability.hours);
    byId("capability").hidden = now.capability.held.length === 0;
    fillList("node", now.nodes);
    byId("nodes").hidden = now.nodes.length === 0;
    fillList("statement", now.statements, fillStatement);
    byId("statements").hidden = now.statements.length === 0;
    byId("no-statement").hidden = now.statements.length !== 0;
    const silence = now.power.power_w === null ? ` ${now.power.power_note}` : "";
    const faults = now.faults.map((fault) => ` ${fault.part}: ${fault.reason}.`).join("");
    speak(now.headline + silence.replace(/\d+ (s|min|h|d)\b/g, "a while") + faults);
    chart.add(now);
  }

  const chart = {
    minutes: 30,
    series: null,
    loadedAt: 0,
    loading: false,
    drawn: false,

    async load() {
      if (this.loading) return;
      this.loading = true;
      const minutes = this.minutes;
      try {
        const got = await ask(`/api/series?minutes=${minutes}`);
        const start = Date.parse(got.starts_at);
        this.series = {
          minutes,
          reloadMs: got.bucket_s * 20000,
          offsetMs: got.utc_offset_s * 1000,
          endMs: Date.parse(got.ends_at),
          loadedMs: Date.parse(got.ends_at),
          timeMs: got.time_s.map((s) => start + s * 1000),
          site: got.site_w,
          target: got.target_w,
          baseline: got.baseline_w,
          events: got.events,
        };
        this.loadedAt = performance.now();
        fillList("minute", got.rows);
        byId("minutes-note").textContent = got.rows_note;
        this.draw();
      } finally {
        this.loading = false;
      }
    },

    add(now) {
      const nowMs = Date.parse(now.now);
      const series = this.series;
      const old = !series || series.minutes !== this.minutes || nowMs - series.loadedMs > series.reloadMs;
      if (old && (!series || performance.now() - this.loadedAt > LEAST_RELOAD_MS)) {
        this.load().catch(() => {});
      }
      if (!series) return;
      const atMs = now.power.power_w === null ? nowMs : nowMs - now.power.age_s * 1000;
      if (!series.timeMs.length || atMs > series.timeMs[series.timeMs.length - 1]) {
        series.timeMs.push(atMs);
        series.site.push(now.power.power_w);
        series.target.push(now.power.target_w);
        series.baseline.push(now.power.baseline_w);
      }
      series.endMs = nowMs;
      if (!document.hidden) this.draw();
    },

    draw() {
      if (typeof Plotly === "undefined" || !this.series) return;
      const box = byId("chart");
      if (!this.drawn) {
        box.replaceChildren();
        box.classList.add("drawn");
        byId("ranges").hidden = false;
        byId("minutes").open = false;
        this.drawn = true;
      }
      Plotly.react(box, this.traces(), this.layout(), { displayModeBar: false, responsive: true });
    },

    // Plotly shows an instant without a zone as it stands: so it gets the site's local time.
    local(ms) {
      return new Date(ms + this.series.offsetMs).toISOString().slice(0, 23);
    },

    traces() {
      const { timeMs, site, target, baseline } = this.series;
      const x = timeMs.map((ms) => this.local(ms));
      const kilowatts = (values) => values.map((value) => (value === null ? null : value / 1000));
      const trace = (name, values, line) => ({
        name, x, y: kilowatts(values), line, mode: "lines", type: "scatter", connectgaps: false,
        hovertemplate: "%{y:,.1f} kW",
      });
      const held = (name, values, line) =>
        values.some((value) => value !== null) ? [trace(name, values, { shape: "hv", ...line })] : [];
      return [
        ...held("live baseline", baseline, { color: colour("baseline"), width: 2, dash: "dash" }),
        ...held("target", target, { color: colour("target"), width: 3 }),
        trace("site power", site, { color: colour("site"), width: 2 }),
      ];
    },

    layout() {
      const { endMs, events, minutes } = this.series;
      const startMs = endMs - minutes * 60000;
      const ink = colour("quiet");
      const axis = { gridcolor: colour("rule"), zerolinecolor: colour("rule"), linecolor: colour("rule"), fixedrange: true };
      return {
        margin: { l: 56, r: 12, t: 8, b: 30 },
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        font: { color: ink, family: getComputedStyle(document.body).fontFamily, size: 13 },
        dragmode: false,
        hovermode: "x unified",
        hoverlabel: { bgcolor: colour("card"), bordercolor: colour("rule"), font: { color: colour("ink") } },
        showlegend: true,
        legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "reversed" },
        xaxis: { ...axis, type: "date", range: [this.local(startMs), this.local(endMs)], tickformat: "%H:%M", hoverformat: "%H:%M:%S" },
        yaxis: { ...axis, title: { text: "kW", standoff: 8 }, rangemode: "tozero", tickformat: ",~f" },
        shapes: events.map((event) => this.shade(event, startMs, endMs)),
      };
    },

    shade(event, startMs, endMs) {
      const from = Math.max(startMs, Date.parse(event.starts_at));
      const to = Math.min(endMs, event.ends_at === null ? endMs : Date.parse(event.ends_at));
      return {
        type: "rect", layer: "below", xref: "x", yref: "paper", y0: 0, y1: 1,
        x0: this.local(from), x1: this.local(Math.max(from, to)),
        fillcolor: colour("event"), opacity: 0.14, line: { width: 0 },
      };
    },
  };

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  }

  const link = { failures: 0, heard: "", timer: 0 };

  function wait(ms) {
    clearTimeout(link.timer);
    link.timer = setTimeout(poll, ms);
  }

  async function poll() {
    try {
      const now = await ask("/api/now");
      link.failures = 0;
      link.heard = now.clock;
      byId("unheard").hidden = true;
      document.body.classList.remove("old");
      show(now);
      wait(document.hidden ? HIDDEN_POLL_MS : POLL_MS);
    } catch (fault) {
      link.failures += 1;
      const pause = Math.min(LONGEST_WAIT_MS, POLL_MS * 2 ** link.failures);
      const since = link.heard || byId("top").querySelector("[data-field=clock]").textContent;
      if (link.failures > 1) {
        const notice = byId("unheard");
        if (notice.hidden) {
          notice.textContent = `The gateway has not answered this page since ${since}: what stands below is from then. It is asked again from time to time.`;
          notice.hidden = false;
        }
        document.body.classList.add("old");
      }
      console.warn(fault);
      wait(pause);
    }
  }

  byId("ranges").addEventListener("click", (click) => {
    const minutes = Number(click.target.dataset.minutes);
    if (!minutes) return;
    chart.minutes = minutes;
    for (const button of byId("ranges").children) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.minutes) === minutes));
    }
    chart.load().catch(() => {});
  });
  // A toggle does not bubble. What was folded is old: it is filled as it opens.
  byId("host-list").addEventListener("toggle", () => { if (devices) fillHosts(devices.hosts, devices.devices); }, true);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.draw());
  document.addEventListener("visibilitychange", () => { if (!document.hidden) wait(0); });
  poll();
})();
