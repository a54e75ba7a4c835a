// Keeps the part of the page that changes up to date, without disturbing who reads or types.
"use strict";
(() => {
  const period = 5000;
  const pulse = document.getElementById("pulse");

  const apply = (fresh) => {
    const live = document.getElementById("live");
    const now = fresh.getElementById("live");
    if (!live || !now) throw new Error("this is no page of promlet");
    for (const details of live.querySelectorAll("details[id]")) {
      const same = now.querySelector("#" + CSS.escape(details.id));
      if (same) same.open = details.open;
    }
    const selected = window.getSelection();
    const selecting = selected && !selected.isCollapsed && live.contains(selected.anchorNode);
    if (!selecting && live.innerHTML !== now.innerHTML) {
      const focused = live.contains(document.activeElement) ? document.activeElement : null;
      const href = focused && focused.getAttribute("href");
      const held = focused && focused.closest("details[id]");
      live.replaceChildren(...now.childNodes);
      if (href) live.querySelector(`a[href="${CSS.escape(href)}"]`)?.focus({ preventScroll: true });
      else if (held) live.querySelector("#" + CSS.escape(held.id) + " > summary")?.focus({ preventScroll: true });
    }
    const at = fresh.getElementById("pulse");
    if (at) pulse.textContent = at.textContent;
    pulse.classList.remove("lost");
    pulse.removeAttribute("role");
  };

  const refresh = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(30000) });
        apply(new DOMParser().parseFromString(await answer.text(), "text/html"));
      } catch {
        pulse.textContent = "promlet does not answer, as of" + pulse.textContent.split("as of").pop();
        pulse.classList.add("lost");
        pulse.setAttribute("role", "status"); // to be spoken, once
      }
    }
    setTimeout(refresh, period);
  };
  setTimeout(refresh, period);
})();
