// This script refreshes the part of the page that changes, and leaves selected text, focus and input alone. It copies
// snippets, and shows the value of a graph under the pointer.
"use strict";
(() => {
  const period = 5000;
  const pulse = document.getElementById("pulse");
  const lost = document.getElementById("lost");
  document.documentElement.classList.add("js");

  // Details that the user opened or closed stay that way. All others follow the server, which opens HPAs that break.
  const touched = new Set();
  document.addEventListener("click", (event) => {
    const details = event.target.closest("summary")?.parentElement;
    if (details?.id) touched.add(details.id);
  });

  const apply = (fresh) => {
    const live = document.getElementById("live");
    const now = fresh.getElementById("live");
    if (!live || !now) throw new Error("this is no page of promlet");
    for (const details of live.querySelectorAll("details[id]")) {
      const same = touched.has(details.id) && now.querySelector("#" + CSS.escape(details.id));
      if (same) same.open = details.open;
    }
    const selected = window.getSelection();
    const selecting = selected && !selected.isCollapsed && live.contains(selected.anchorNode);
    if (!selecting && live.innerHTML !== now.innerHTML) {
      const focused = live.contains(document.activeElement) ? document.activeElement : null;
      const id = focused && focused.id;
      const href = focused && focused.getAttribute("href");
      const held = focused && focused.closest("details[id]");
      const read = reading;
      live.replaceChildren(...now.childNodes);
      if (id) document.getElementById(id)?.focus({ preventScroll: true });
      else if (href) live.querySelector(`a[href="${CSS.escape(href)}"]`)?.focus({ preventScroll: true });
      else if (held) live.querySelector("#" + CSS.escape(held.id) + " > summary")?.focus({ preventScroll: true });
      if (read) show(document.getElementById(read.id), read.at);
    }
    const at = fresh.getElementById("pulse");
    if (at) pulse.textContent = at.textContent;
    lost.textContent = "";
    document.body.classList.remove("stale");
  };

  const refresh = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(30000) });
        apply(new DOMParser().parseFromString(await answer.text(), "text/html"));
      } catch {
        const text = "promlet does not answer. This page is as of" + pulse.textContent.split("as of").pop() + ".";
        if (lost.textContent !== text) lost.textContent = text; // a screen reader speaks each change, so change it only once
        document.body.classList.add("stale");
      }
    }
    setTimeout(refresh, period);
  };
  setTimeout(refresh, period);

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const pre = button.parentElement.querySelector("pre");
    try {
      await navigator.clipboard.writeText(pre.textContent);
      button.textContent = "Copied";
    } catch { // the browser does not allow it, for example over http from another host: select the text for the keyboard
      window.getSelection().selectAllChildren(pre);
    }
  });

  // The point of a graph whose value is shown: the one under the pointer, or the one that the arrow keys chose.
  let reading = null;
  const margin = 6; // left of the lines
  const pointsOf = (figure) => figure.dataset.points.split(" ").map((point) => {
    const [at, milli, replicas] = point.split(",").map(Number);
    return { at: Number(figure.dataset.from) + at, milli, replicas };
  });
  // The server writes numbers in the same way.
  const decimal = (value) => Number(Math.abs(value) < 1 ? value.toPrecision(3) : value.toFixed(2));
  const amount = (milli, unit) => {
    const bytes = milli / 1000;
    switch (unit) {
      case "percent": return `${decimal(milli / 1000)}%`;
      case "cores": return `${milli}m`;
      case "bytes": return bytes >= 2 ** 20 || bytes === 0 ? `${Math.floor(bytes / 2 ** 20)}Mi` : `${Math.ceil(bytes / 2 ** 10)}Ki`;
    }
    return decimal(milli / 1000);
  };
  const hide = () => {
    if (!reading) return;
    const figure = document.getElementById(reading.id);
    figure?.querySelector(".cursor").setAttribute("transform", "");
    if (figure) figure.querySelector("output").textContent = "";
    reading = null;
  };
  const show = (figure, at) => {
    if (reading && reading.id !== figure?.id) hide();
    if (!figure) return;
    const nearest = pointsOf(figure).reduce((a, b) => (Math.abs(b.at - at) < Math.abs(a.at - at) ? b : a));
    reading = { id: figure.id, at: nearest.at };
    const svg = figure.querySelector("svg");
    const x = margin + figure.dataset.width * Math.min(1, (nearest.at - figure.dataset.from) / figure.dataset.seconds);
    svg.querySelector(".cursor").setAttribute("transform", `translate(${x + 9})`); // the hidden cursor is at x = -9
    const time = new Date((nearest.at + Number(figure.dataset.zone)) * 1000).toISOString().slice(11, 19);
    figure.querySelector("output").textContent =
      `${time}: ${amount(nearest.milli, figure.dataset.unit)}, ${nearest.replicas} ${nearest.replicas === 1 ? "replica" : "replicas"}`;
  };
  document.addEventListener("pointermove", (event) => {
    const figure = event.target.closest?.("figure.graph");
    if (!figure) {
      if (reading?.id !== document.activeElement?.id) hide();
      return;
    }
    const svg = figure.querySelector("svg");
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width - margin;
    show(figure, Number(figure.dataset.from) + figure.dataset.seconds * x / figure.dataset.width);
  });
  document.addEventListener("focusin", (event) => {
    if (event.target.matches("figure.graph") && reading?.id !== event.target.id) show(event.target, Number.MAX_SAFE_INTEGER);
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !event.target.matches("figure.graph")) return;
    event.preventDefault();
    const points = pointsOf(event.target);
    const index = points.findIndex((point) => point.at === reading?.at);
    show(event.target, (points[index + step] ?? points[index] ?? points[points.length - 1]).at);
  });
})();
