"""Style and script of the report page: no library, nothing fetched."""

STYLE = """
:root { --ink: #1b2430; --soft: #5b6775; --line: #dfe4ea; --paper: #fff; --back: #eef1f4; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, -apple-system,
  "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 16px; display: grid; gap: 14px;
  grid-template-columns: minmax(0, 5fr) minmax(0, 7fr); align-items: start; }
header, section, footer { background: var(--paper); border-radius: 10px; padding: 16px 20px; }
header, .warn, .fine, footer, #wide { grid-column: 1 / -1; }
header { border-left: 10px solid #6c7a89; }
header.found { border-color: #d7263d; } header.clear { border-color: #3b82a0; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 2px 0 6px; }
header.found h1 { color: #b5132a; }
h2 { font-size: 1.1rem; margin: 0 0 8px; } h3 { font-size: 1rem; margin: 14px 0 2px; }
p { margin: 4px 0; } .case, .hint, footer { color: var(--soft); font-size: .9rem; }
.case span { margin-left: 12px; } .only { font-weight: 600; margin-top: 10px; }
.warn { background: #fff6e0; } .warn ul { margin: 0; padding-left: 20px; }
.fine { padding: 8px 20px; color: var(--soft); }
.viewer { background: #11161c; color: #dbe2ea; grid-row: span 3; position: sticky; top: 12px; }
.viewer .hint { color: #96a2ae; }
.frame { position: relative; touch-action: pan-y; }
#view { display: block; width: 100%; max-height: 70vh; background: #000; border-radius: 6px; outline: none; }
#view:focus-visible { box-shadow: 0 0 0 2px #4da3ff; }
#lines path { fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke; }
.mark { position: absolute; top: 46%; color: #cfe0f0; font-size: .95rem;
  text-shadow: 0 0 4px #000, 0 0 2px #000; }
.mark.r { left: 8px; } .mark.l { right: 8px; }
#where { position: absolute; left: 8px; top: 6px; font-size: .85rem; color: #9fb0c0; }
#areas { display: block; width: calc(100% - 16px); margin: 8px 8px 0; height: 22px; }
#slider { width: 100%; accent-color: #ff4d4d; margin: 0; height: 28px; }
.layers { display: flex; flex-wrap: wrap; gap: 6px 18px; margin: 6px 0; }
.layers label { display: flex; align-items: center; gap: 6px; cursor: pointer; }
.layers i { width: 14px; height: 4px; border-radius: 2px; }
.wide { overflow: auto; max-height: 520px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: 5px 8px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { color: var(--soft); font-weight: 500; white-space: normal; vertical-align: bottom; }
tbody tr[data-slice] { cursor: pointer; }
tbody tr[data-slice]:hover, tr:focus-visible { background: #f0f6ff; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 2px 14px; margin: 6px 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
code { font-size: .88em; } noscript img { width: 100%; }
@media (max-width: 860px) {
  main { grid-template-columns: minmax(0, 1fr); padding: 8px; gap: 10px; }
  header, section, footer { padding: 12px 14px; } .viewer { position: static; }
  h1 { font-size: 1.5rem; } dl { grid-template-columns: 1fr; } dt { margin-top: 6px; font-size: .9rem; }
}
@media print { body { background: #fff; } .viewer { position: static; } #slider, .hint { display: none; } }
"""

SCRIPT = """
(() => {
  const get = (id) => document.getElementById(id);
  const view = get('view'), slider = get('slider'), lines = get('lines'), fog = get('fog');
  const space = 'http://www.w3.org/2000/svg';
  const names = Object.keys(DATA.outlines);
  const paths = {};
  for (const name of names.slice().reverse()) {
    paths[name] = document.createElementNS(space, 'path');
    paths[name].setAttribute('stroke', DATA.colours[name]);
    lines.append(paths[name]);
  }
  const last = DATA.slices.length;
  function show(number) {
    const n = Math.min(last, Math.max(1, number)), i = n - 1;
    slider.value = n;
    get('slice').setAttribute('href', DATA.slices[i]);
    for (const name of names) paths[name].setAttribute('d', DATA.outlines[name][i]);
    const doubt = get('doubt');
    fog.setAttribute('href', doubt && doubt.checked ? DATA.doubt[i] : '');
    fog.style.display = doubt && doubt.checked && DATA.doubt[i] ? '' : 'none';
    const area = DATA.areas[i] ? ', ' + DATA.areas[i].toFixed(1) + ' cm\\u00b2' : '';
    get('where').textContent = 'slice ' + n + ' of ' + last + area;
    for (const bar of get('areas').children) bar.setAttribute('opacity', bar.dataset.i == i ? 1 : 0.45);
  }
  const most = Math.max(...DATA.areas, 1e-6);
  DATA.areas.forEach((area, i) => {
    const bar = document.createElementNS(space, 'rect'), height = area ? Math.max(2, 20 * area / most) : 0.6;
    bar.dataset.i = i;
    const place = {x: 100 * i / last + 0.1, width: 100 / last - 0.2, y: 20 - height, height};
    place.fill = area ? '#ff4d4d' : '#5b6775';
    for (const [key, value] of Object.entries(place)) bar.setAttribute(key, value);
    get('areas').append(bar);
  });
  slider.addEventListener('input', () => show(+slider.value));
  const step = (by) => show(+slider.value + by);
  view.addEventListener('wheel', (e) => {
    e.preventDefault();
    step(e.deltaY > 0 ? -1 : 1);
  }, {passive: false});
  view.addEventListener('keydown', (e) => {
    const by = {ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1}[e.key];
    if (by) { e.preventDefault(); step(by); }
  });
  let from = null;
  view.addEventListener('touchstart', (e) => {
    from = [e.touches[0].clientX, +slider.value];
  }, {passive: true});
  view.addEventListener('touchmove', (e) => {
    if (from) show(from[1] + Math.round((e.touches[0].clientX - from[0]) / view.clientWidth * last));
  }, {passive: true});
  document.querySelectorAll('[data-layer]').forEach((box) => box.addEventListener('change', () => {
    paths[box.dataset.layer].style.display = box.checked ? '' : 'none';
  }));
  if (get('doubt')) get('doubt').addEventListener('change', () => show(+slider.value));
  document.querySelectorAll('tr[data-slice]').forEach((row) => {
    const go = () => {
      show(+row.dataset.slice);
      view.scrollIntoView({block: 'nearest', behavior: 'smooth'});
    };
    row.addEventListener('click', go);
    row.addEventListener('keydown', (e) => { if (e.key === 'Enter') go(); });
  });
  show(+slider.value);
})();
"""
