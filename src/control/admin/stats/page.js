// Keeps the stats page up to date, draws its charts, and changes backends. Needs nothing but this listener.
'use strict';

const POINTS = 300;
const layout = Number(document.body.dataset.layout);
const live = document.getElementById('live');
const news = document.getElementById('news');
const charts = new Map();
let lastTick = -1;
let source = null;

function say(state, text) {
  live.className = `live ${state}`;
  if (live.textContent !== text) live.textContent = text;
}

// The parts of the page. Their HTML is the server's, which escapes all text.
function show(id, html) {
  const element = document.getElementById(id);
  if (!element) return;
  if (element.tagName !== 'TR') {
    element.innerHTML = html;
    return;
  }
  const cells = document.createElement('template');
  cells.innerHTML = html;
  const [name, state] = element.children;
  const before = state && state.dataset.condition;
  const after = cells.content.firstElementChild.dataset.condition;
  element.replaceChildren(name, ...cells.content.children);
  sayAgo(element);
  if (before && before !== after) tell(element, before, after);
}

// How long something has lasted, which changes without the server.
function ago(seconds) {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

function sayAgo(place) {
  for (const time of place.querySelectorAll('time[data-since]')) {
    const text = `for ${ago(Math.max(0, Math.floor((Date.now() - time.dataset.since) / 1000)))}`;
    if (time.textContent !== text) time.textContent = text;
  }
}

function tell(row, before, after) {
  const name = row.querySelector('.name').textContent;
  const upstream = row.closest('table').dataset.upstream;
  const words = (condition) => condition.replaceAll('_', ' ');
  news.textContent = `${new Date().toLocaleTimeString()} ${upstream}: ${name} was ${words(before)} and is ${words(after)}`;
}

// The charts.
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function short(number) {
  if (number >= 1e6) return `${+(number / 1e6).toFixed(1)} M`;
  if (number >= 1e3) return `${+(number / 1e3).toFixed(1)} k`;
  return `${+number.toFixed(1)}`;
}

function draw(figure, data) {
  const axis = { stroke: colour('--quiet'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false }, font: '11px system-ui' };
  const last = () => data[0][data[0].length - 1];
  const options = {
    width: figure.clientWidth,
    height: figure.clientHeight,
    cursor: { show: false },
    legend: { show: false },
    scales: { x: { time: false }, y: { range: (chart, min, max) => [0, Math.max(max * 1.1, 1)] } },
    axes: [
      { ...axis, size: 18, gap: 2, space: 60, values: (chart, ticks) => ticks.map((tick) => `${Math.round((tick - chart.data[0][chart.data[0].length - 1]) / 60)} min`), splits: () => [240, 180, 120, 60].map((ago) => last() - ago).filter((tick) => tick >= data[0][0]) },
      { ...axis, size: 44, gap: 4, splits: (chart, index, min, max) => [0, max / 2], values: (chart, ticks) => ticks.map(short) },
    ],
    series: [
      {},
      { stroke: colour('--accent'), width: 1.5, fill: colour('--accent-soft'), points: { show: false } },
      { stroke: colour('--alarm'), width: 1.5, points: { show: false } },
    ].slice(0, data.length),
  };
  return new uPlot(options, data, figure);
}

function chart(name) {
  for (const figure of document.querySelectorAll('.chart')) {
    if (figure.dataset.series === name) return figure;
  }
  return null;
}

async function drawAll() {
  const answer = await fetch('/stats/history', { cache: 'no-store' });
  const history = await answer.json();
  const ticks = history.redirect.map((_, index) => history.first + index);
  const series = [['redirect', history.redirect]].concat(history.upstreams);
  for (const [name, ...lines] of series) {
    const figure = chart(name);
    // A chart of no size cannot be drawn.
    if (!figure || !figure.clientWidth || !figure.clientHeight) continue;
    const old = charts.get(name);
    if (old) old.plot.destroy();
    const data = [ticks.slice(), lines[0], ...lines.slice(1).map((line) => line.map(orNothing))];
    charts.set(name, { data, plot: draw(figure, data) });
  }
  lastTick = ticks.length ? ticks[ticks.length - 1] : -1;
}

// Errors are drawn where there are any.
function orNothing(number) {
  return number || null;
}

function append(name, tick, [requests, ...errors]) {
  const drawn = charts.get(name);
  if (!drawn) return;
  [tick, requests, ...errors.map(orNothing)].forEach((value, index) => {
    drawn.data[index].push(value);
    if (drawn.data[index].length > POINTS) drawn.data[index].shift();
  });
  drawn.plot.setData(drawn.data);
}

function extend(event) {
  if (event.tick <= lastTick) return;
  if (event.tick > lastTick + 1) {
    drawAll();
    return;
  }
  lastTick = event.tick;
  append('redirect', event.tick, [event.redirect]);
  for (const [name, ...values] of event.upstreams) append(name, event.tick, values);
}

// The stream: one a page, and none while the page is hidden, as a browser has few connections for one host.
function follow() {
  if (source || document.hidden) return;
  source = new EventSource('/stats/events');
  source.onopen = () => say('on', 'live');
  source.onerror = () => say('off', 'no connection: these numbers are old');
  source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    // Upstreams or backends have come or gone.
    if (event.layout !== layout) {
      location.reload();
      return;
    }
    for (const [id, html] of Object.entries(event.fragments)) show(id, html);
    extend(event);
    sayAgo(document);
    say('on', 'live');
  };
}

function rest() {
  if (source) source.close();
  source = null;
}

// Changes of backends.
const dialog = document.getElementById('change');
const form = dialog.querySelector('form');
const error = dialog.querySelector('[data-error]');
let wanted = null;
let opener = null;

document.addEventListener('click', (click) => {
  const button = click.target.closest('button.change');
  if (!button) return;
  opener = button;
  wanted = {
    upstream: button.closest('table').dataset.upstream,
    backend: button.closest('th').querySelector('.name').textContent,
  };
  form.reset();
  form.elements.token.value = sessionStorage.getItem('token') || '';
  error.textContent = '';
  dialog.querySelector('[data-name]').textContent = `${wanted.backend} of ${wanted.upstream}`;
  dialog.showModal();
});
dialog.querySelector('[data-cancel]').addEventListener('click', () => dialog.close());
dialog.addEventListener('close', () => opener && opener.focus());

form.addEventListener('submit', async (submit) => {
  submit.preventDefault();
  error.textContent = '';
  const field = (name) => form.elements[name].value;
  const change = { state: field('state') || null, weight: field('weight') ? Number(field('weight')) : null, ttl: field('ttl') || null };
  const headers = { 'Content-Type': 'application/json' };
  if (field('token')) headers.Authorization = `Bearer ${field('token')}`;
  const path = `/api/v1/upstreams/${encodeURIComponent(wanted.upstream)}/backends/${encodeURIComponent(wanted.backend)}`;
  try {
    const answer = await fetch(path, { method: 'PATCH', headers, body: JSON.stringify(change) });
    if (answer.ok) {
      // For the next change in this tab.
      if (field('token')) sessionStorage.setItem('token', field('token'));
      dialog.close();
      return;
    }
    const problem = await answer.json().catch(() => ({}));
    const fields = (problem.errors || []).map((fault) => `${fault.field} ${fault.detail}`);
    error.textContent = [problem.detail || `the answer is ${answer.status}`, ...fields].join('; ');
  } catch (failure) {
    error.textContent = `no answer: ${failure.message}`;
  }
});

document.addEventListener('visibilitychange', () => (document.hidden ? rest() : follow()));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);
let resized = 0;
addEventListener('resize', () => {
  clearTimeout(resized);
  resized = setTimeout(drawAll, 200);
});
sayAgo(document);
drawAll().finally(follow);
