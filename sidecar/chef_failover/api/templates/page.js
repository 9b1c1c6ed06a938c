"use strict";
(() => {
  const PERIOD_MS = 5000;
  const PATIENCE_MS = 10000;
  const button = document.getElementById("pause");
  const trouble = document.getElementById("trouble");
  let isPaused = false;
  let isAsking = false;

  // Puts what differs in its place and leaves the rest alone: no flicker, and focus, selection and scrolling stay.
  function renew(old, fresh) {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeName !== fresh.nodeName) {
      old.replaceWith(fresh);
    } else if (old.nodeType !== Node.ELEMENT_NODE) {
      old.nodeValue = fresh.nodeValue;
    } else {
      for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
      for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
      const [former, latter] = [[...old.childNodes], [...fresh.childNodes]];
      if (former.length === latter.length) former.forEach((child, place) => renew(child, latter[place]));
      else old.replaceChildren(...latter);
    }
  }

  function renewAll(fresh) {
    document.title = fresh.title;
    for (const id of ["now", "headline", "details"]) renew(document.getElementById(id), fresh.getElementById(id));
  }

  function say(text) {
    if (trouble.textContent !== text) trouble.textContent = text;
  }

  async function ask() {
    if (isPaused || isAsking || document.hidden) return;
    isAsking = true;
    try {
      const answer = await fetch("/fragment", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
      if (!answer.ok) throw new Error(answer.statusText);
      renewAll(new DOMParser().parseFromString(await answer.text(), "text/html"));
      say("");
    } catch {
      say("The sidecar does not answer. This page is as of the time above.");
    } finally {
      isAsking = false;
    }
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    isPaused = !isPaused;
    button.setAttribute("aria-pressed", String(isPaused));
    ask();
  });
  document.addEventListener("visibilitychange", ask);
  setInterval(ask, PERIOD_MS);
})();
