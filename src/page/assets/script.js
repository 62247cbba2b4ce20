// What a page does by itself: it takes over what is new, keeps relative times right, and follows logs.
// Nothing needs it. It makes no markup of any text: what it shows comes escaped from the server.
'use strict';

(() => {
  const body = document.body;
  const notice = document.getElementById('notice');
  // The clocks of the two sides may differ.
  const skew = Number(body.dataset.now) - Date.now();
  const now = () => Date.now() + skew;

  // Times: the same forms as on the server (`pace::duration`).

  const length = (seconds) => {
    const [minutes, hours, days] = [60, 3600, 86400].map((unit) => Math.floor(seconds / unit));
    const two = (n) => String(n).padStart(2, '0');
    if (seconds < 60) return `${seconds}s`;
    if (seconds < 3600) return `${minutes}m`;
    if (seconds < 86400) return `${hours}h ${two(minutes % 60)}m`;
    return days < 100 ? `${days}d ${two(hours % 24)}h` : `${days}d`;
  };

  const inTwoUnits = (seconds) => {
    const units = [[31536000, 'y'], [86400, 'd'], [3600, 'h'], [60, 'm'], [1, 's']];
    const at = units.findIndex(([unit]) => seconds >= unit);
    if (at < 0) return '0s';
    const [unit, name] = units[at];
    const text = `${Math.floor(seconds / unit)}${name}`;
    const [smaller, nextName] = units[at + 1] ?? [1, ''];
    const rest = nextName ? Math.floor((seconds % unit) / smaller) : 0;
    return rest > 0 ? `${text} ${rest}${nextName}` : text;
  };

  const tick = () => {
    for (const time of document.querySelectorAll('time[data-at]')) {
      const seconds = Math.trunc((now() - Number(time.dataset.at)) / 1000);
      const text = time.dataset.form === 'since' ? inTwoUnits(Math.max(seconds, 0))
        : seconds >= 0 ? `${length(seconds)} ago` : `in ${length(-seconds)}`;
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(tick, 1000);

  // What is new on this page: the same page again, of which the live parts are taken over.

  const morph = (old, next) => {
    if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName || old.id !== next.id) {
      old.replaceWith(document.importNode(next, true));
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== next.data) old.data = next.data;
      return;
    }
    // What the script keeps right itself, or has added to.
    if (old.hasAttribute('data-log')) return;
    for (const { name } of [...old.attributes]) {
      if (!next.hasAttribute(name) && !(old.nodeName === 'DETAILS' && name === 'open')) old.removeAttribute(name);
    }
    for (const { name, value } of next.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    children(old, next);
  };

  const children = (old, next) => {
    const wanted = [...next.childNodes];
    // A row that is new at the top does not change all rows below it.
    const known = new Map();
    for (const child of old.children) if (child.id) known.set(child.id, child);
    wanted.forEach((node, at) => {
      const here = old.childNodes[at];
      const same = node.id && known.get(node.id);
      if (same && same !== here) {
        old.insertBefore(same, here ?? null);
        morph(same, node);
      } else if (!here) {
        old.append(document.importNode(node, true));
      } else if (here.id && here.id !== node.id) {
        old.insertBefore(document.importNode(node, true), here);
      } else {
        morph(here, node);
      }
    });
    while (old.childNodes.length > wanted.length) old.lastChild.remove();
  };

  const say = (words) => {
    if (!notice) return;
    if (notice.textContent !== words) notice.textContent = words;
    notice.hidden = words === '';
  };

  let isFetching = false;
  let isStale = false;

  const refresh = async () => {
    if (isFetching) {
      isStale = true;
      return;
    }
    isFetching = true;
    try {
      do {
        isStale = false;
        const answer = await fetch(location.href, { cache: 'no-store', redirect: 'manual', headers: { accept: 'text/html' } });
        if (answer.type === 'opaqueredirect' || answer.status === 401 || answer.status === 404) {
          location.reload();
          return;
        }
        if (!answer.ok) throw new Error(answer.statusText);
        take(new DOMParser().parseFromString(await answer.text(), 'text/html'));
      } while (isStale);
      say('');
    } catch {
      say('No connection to the server. What you see may be old; trying again…');
    } finally {
      isFetching = false;
    }
  };

  const take = (next) => {
    for (const part of document.querySelectorAll('[data-live][id]')) {
      const other = next.getElementById(part.id);
      if (other) morph(part, other);
    }
    if (document.title !== next.title) document.title = next.title;
    const icon = next.querySelector('link[rel=icon]')?.getAttribute('href');
    const ours = document.querySelector('link[rel=icon]');
    if (icon && ours && ours.getAttribute('href') !== icon) ours.setAttribute('href', icon);
    if (next.body.dataset.events) {
      body.dataset.events = next.body.dataset.events;
    } else {
      // Nothing more will change.
      delete body.dataset.events;
      close();
    }
    body.dataset.refreshed = String(Number(body.dataset.refreshed ?? 0) + 1);
    tick();
  };

  // Logs that grow.

  const MOST = 5000;
  const logs = () => [...document.querySelectorAll('[data-log][id]')];
  const isAtEnd = (log) => log.scrollHeight - log.scrollTop - log.clientHeight < 40;

  const follow = (log) => document.querySelector(`input[data-follow="${CSS.escape(log.id)}"]`);

  const add = (data) => {
    const { id, first, last, html } = JSON.parse(data);
    const log = document.getElementById(id);
    if (!log || !('follow' in log.dataset)) return;
    const isFollowed = follow(log)?.checked;
    const seen = Number(log.dataset.last);
    if (first > seen + 1) {
      const gap = document.createElement('div');
      gap.className = 'gap';
      const link = document.createElement('a');
      link.href = `${log.dataset.link}${seen + 1}#${log.dataset.prefix}${seen + 1}`;
      link.textContent = `lines ${seen + 1} to ${first - 1}`;
      gap.append(link, ' came too fast to be shown');
      log.append(gap);
    }
    const lines = new DOMParser().parseFromString(html, 'text/html').body.children;
    for (const line of [...lines]) {
      const old = document.getElementById(line.id);
      if (old) morph(old, line);
      else log.append(document.importNode(line, true));
    }
    log.dataset.last = String(Math.max(last, seen));
    while (log.children.length > MOST) log.firstElementChild.remove();
    if (isFollowed) log.scrollTop = log.scrollHeight;
  };

  for (const log of logs()) {
    const box = follow(log);
    if (!box) continue;
    box.closest('[hidden]')?.removeAttribute('hidden');
    box.checked = 'follow' in log.dataset && !location.hash;
    box.addEventListener('change', () => { if (box.checked) log.scrollTop = log.scrollHeight; });
    log.addEventListener('scroll', () => { if (!isAtEnd(log)) box.checked = false; else if ('follow' in log.dataset) box.checked = true; }, { passive: true });
    if (box.checked) log.scrollTop = log.scrollHeight;
  }

  // A link to a line that is not in the part of the log that is shown.
  const toLine = () => {
    const found = /^#([A-Z])([1-9][0-9]{0,14})$/.exec(location.hash);
    if (!found || document.getElementById(found[0].slice(1))) return;
    const log = logs().find((one) => one.dataset.prefix === found[1]);
    if (!log || Number(found[2]) > Number(log.dataset.last)) return;
    location.replace(`${log.dataset.link}${found[2]}${location.hash}`);
  };
  window.addEventListener('hashchange', toLine);
  toLine();

  // Events, as long as the page is seen: a browser has few connections for each server. Otherwise, and where none come
  // through, the page looks now and then.

  const [SEEN, HIDDEN] = [5000, 30000];
  let source = null;
  let wasCut = false;

  const place = () => {
    const url = new URL(body.dataset.events, location.href);
    for (const log of logs().filter((one) => 'follow' in one.dataset)) url.searchParams.set(`from.${log.id}`, log.dataset.last);
    return url;
  };

  const listen = () => {
    if (source || !body.dataset.events || document.hidden || !window.EventSource) return;
    source = new EventSource(place());
    source.addEventListener('open', () => {
      if (wasCut) refresh();
      wasCut = false;
      body.dataset.connected = '';
      say('');
    });
    source.addEventListener('changed', refresh);
    source.addEventListener('lines', (event) => add(event.data));
    source.addEventListener('error', () => {
      // Anew, from where the logs are now, rather than by the browser's own way from where they were.
      close();
      wasCut = true;
      refresh().then(() => setTimeout(listen, 1000 + Math.random() * 2000));
    });
  };

  const close = () => {
    source?.close();
    source = null;
    delete body.dataset.connected;
  };

  document.addEventListener('visibilitychange', () => {
    if (document.hidden) {
      close();
      wasCut = true;
    } else {
      listen();
    }
  });

  let looked = Date.now();
  setInterval(() => {
    if (source?.readyState === 1 || !body.dataset.events) return;
    if (Date.now() - looked < (document.hidden ? HIDDEN : SEEN)) return;
    looked = Date.now();
    refresh().then(listen);
  }, 1000);

  window.addEventListener('pagehide', close);
  listen();
})();
