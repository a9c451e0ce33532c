(async () => {
  'use strict';
  const get = (id) => document.getElementById(id);
  if (!self.DecompressionStream) return; // an older browser keeps the still picture
  const data = JSON.parse(get('data').textContent);
  const [nz, ny, nx] = data.shape;

  async function inflate(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }
  async function volume(text) { // differences along a row
    const values = await inflate(text);
    for (let row = 0; row < values.length; row += nx) {
      for (let i = row + 1; i < row + nx; i++) values[i] += values[i - 1]; // modulo 256
    }
    return values;
  }
  const codes = await volume(data.codes);
  const masks = await Promise.all(data.layers.map(async (layer) => ({...layer, bits: await inflate(layer.bits), on: true})));
  const fogs = await Promise.all(data.overlays.map(async (fog) => ({...fog, values: await volume(fog.values), on: false})));
  const windows = data.windows.map((text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
  let grey = windows[0];
  const at = {axial: data.start[0], coronal: data.start[1], sagittal: data.start[2]};

  // each plane: pixels, mm, and where a pixel lies in the volume
  const line = nx, slab = nx * ny;
  const planes = {
    axial: {count: nz, w: nx, h: ny, mm: [data.pixel, data.pixel], first: (n) => n * slab, right: 1, down: line, across: ['sagittal', 'coronal']},
    coronal: {count: ny, w: nx, h: nz, mm: [data.pixel, data.slice], first: (n) => (nz - 1) * slab + n * line, right: 1, down: -slab, across: ['sagittal', 'axial']},
    sagittal: {count: nx, w: ny, h: nz, mm: [data.pixel, data.slice], first: (n) => (nz - 1) * slab + n, right: line, down: -slab, across: ['coronal', 'axial']},
  };

  function picture(plane, colour) { // one pixel for one voxel; colour writes RGBA of voxel i at byte o
    const small = document.createElement('canvas');
    [small.width, small.height] = [plane.w, plane.h];
    const context = small.getContext('2d'), image = context.createImageData(plane.w, plane.h);
    let o = 0;
    for (let y = 0, row = plane.first(plane.n); y < plane.h; y++, row += plane.down) {
      for (let x = 0, i = row; x < plane.w; x++, i += plane.right, o += 4) colour(image.data, o, i);
    }
    context.putImageData(image, 0, 0);
    return small;
  }

  function outline(plane, bits, sx, sy) { // the edges between a mask's pixels and the rest
    const path = new Path2D(), inside = (x, y) => {
      if (x < 0 || y < 0 || x >= plane.w || y >= plane.h) return 0;
      const i = plane.first(plane.n) + y * plane.down + x * plane.right;
      return bits[i >> 3] >> (7 - (i & 7)) & 1;
    };
    let any = false;
    for (let y = 0; y <= plane.h; y++) {
      for (let x = 0; x <= plane.w; x++) {
        const here = inside(x, y);
        if (here !== inside(x, y - 1)) { path.moveTo(x * sx, y * sy); path.lineTo((x + 1) * sx, y * sy); any = true; }
        if (here !== inside(x - 1, y)) { path.moveTo(x * sx, y * sy); path.lineTo(x * sx, (y + 1) * sy); any = true; }
      }
    }
    return any ? path : null;
  }

  function draw(name) {
    const plane = planes[name], canvas = plane.canvas, sharp = Math.max(devicePixelRatio || 1, 2);
    plane.n = at[name];
    const width = Math.round(Math.min(1400, (canvas.clientWidth || plane.w) * sharp));
    const height = Math.round(width * plane.h * plane.mm[1] / (plane.w * plane.mm[0]));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext('2d');
    context.imageSmoothingQuality = 'high';
    context.drawImage(picture(plane, (rgba, o, i) => {
      rgba[o] = rgba[o + 1] = rgba[o + 2] = grey[codes[i]];
      rgba[o + 3] = 255;
    }), 0, 0, width, height);
    for (const fog of fogs) {
      if (!fog.on) continue;
      const [r, g, b] = [1, 3, 5].map((k) => parseInt(fog.colour.slice(k, k + 2), 16));
      context.drawImage(picture(plane, (rgba, o, i) => {
        rgba[o] = r; rgba[o + 1] = g; rgba[o + 2] = b;
        rgba[o + 3] = 190 * fog.values[i] / data.levels;
      }), 0, 0, width, height);
    }
    const sx = width / plane.w, sy = height / plane.h;
    context.lineWidth = Math.max(1.5, width / 420);
    context.lineCap = 'square';
    for (const mask of masks.slice().reverse()) {
      const path = mask.on && outline(plane, mask.bits, sx, sy);
      if (path) { context.strokeStyle = mask.colour; context.stroke(path); }
    }
    // where the other two planes lie, at the edges only
    const [px, py] = [plane.across[0], plane.across[1]].map((other) => at[other]);
    const x = (px + 0.5) * sx, y = (plane.across[1] === 'axial' ? plane.h - py - 0.5 : py + 0.5) * sy, tick = width / 30;
    context.strokeStyle = '#7fd1ff';
    context.beginPath();
    for (const [x0, y0, x1, y1] of [[x, 0, x, tick], [x, height, x, height - tick], [0, y, tick, y], [width, y, width - tick, y]]) {
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
    }
    context.stroke();
    plane.slider.value = at[name] + 1;
    let text = name + ' ' + (at[name] + 1) + ' of ' + plane.count;
    if (name === 'axial') {
      const area = data.areas[at.axial];
      text = 'slice ' + data.names[at.axial] + ' of ' + data.count + (area ? ', ' + area.toFixed(1) + ' cm\u00b2' : '');
      [...get('areas').children].forEach((bar, i) => bar.classList.toggle('here', i === at.axial));
    }
    get(name + '-where').textContent = text;
  }

  let waiting = false;
  function show(changes = {}) {
    for (const [name, n] of Object.entries(changes)) at[name] = Math.min(planes[name].count - 1, Math.max(0, Math.round(n)));
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      Object.keys(planes).forEach(draw);
    });
  }

  function steps(name, key) {
    const by = {ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5}[key];
    if (by) return at[name] + by;
    return {Home: 0, End: planes[name].count - 1}[key];
  }

  for (const [name, plane] of Object.entries(planes)) {
    plane.canvas = get(name);
    plane.slider = get(name + '-slider');
    plane.canvas.style.aspectRatio = plane.w * plane.mm[0] + ' / ' + plane.h * plane.mm[1];
    plane.slider.addEventListener('input', () => show({[name]: plane.slider.value - 1}));
    plane.canvas.addEventListener('wheel', (e) => {
      e.preventDefault();
      show({[name]: at[name] + (e.deltaY > 0 ? -1 : 1)});
    }, {passive: false});
    plane.canvas.addEventListener('keydown', (e) => {
      const n = steps(name, e.key);
      if (n !== undefined) { e.preventDefault(); e.stopPropagation(); show({[name]: n}); }
    });
    plane.canvas.addEventListener('click', (e) => {
      const box = plane.canvas.getBoundingClientRect();
      const x = (e.clientX - box.left) / box.width * plane.w, y = (e.clientY - box.top) / box.height * plane.h;
      show({[plane.across[0]]: x - 0.5, [plane.across[1]]: (plane.across[1] === 'axial' ? plane.h - y : y) - 0.5});
    });
    let from = null;
    plane.canvas.addEventListener('touchstart', (e) => { from = [e.touches[0].clientX, at[name]]; }, {passive: true});
    plane.canvas.addEventListener('touchmove', (e) => {
      if (from) show({[name]: from[1] + (e.touches[0].clientX - from[0]) / plane.canvas.clientWidth * plane.count});
    }, {passive: true});
  }
  document.addEventListener('keydown', (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const choice = document.querySelectorAll('[name=window]')[+e.key - 1];
    if (choice) return choice.click();
    if (e.key === 'o' || e.key === 'O') {
      const boxes = [...document.querySelectorAll('[data-layer]')], on = !boxes.some((box) => box.checked);
      return boxes.forEach((box) => { if (box.checked !== on) box.click(); });
    }
    if (document.activeElement && document.activeElement !== document.body) return;
    const n = steps('axial', e.key);
    if (n !== undefined && /^Arrow/.test(e.key)) { e.preventDefault(); show({axial: n}); }
  });
  document.querySelectorAll('[name=window]').forEach((box) => box.addEventListener('change', () => {
    grey = windows[+box.value];
    show();
  }));
  document.querySelectorAll('[data-layer]').forEach((box) => box.addEventListener('change', () => {
    masks[+box.dataset.layer].on = box.checked;
    show();
  }));
  document.querySelectorAll('[data-overlay]').forEach((box) => box.addEventListener('change', () => {
    fogs[+box.dataset.overlay].on = box.checked;
    show();
  }));
  document.querySelectorAll('tr[data-at]').forEach((row) => {
    const go = () => {
      const [axial, coronal, sagittal] = row.dataset.at.split(' ').map(Number);
      show({axial, coronal, sagittal});
      get('axial').scrollIntoView({block: 'nearest'});
    };
    row.addEventListener('click', go);
    row.addEventListener('keydown', (e) => { if (e.key === 'Enter') go(); });
  });
  document.querySelectorAll('input').forEach((box) => { // a page that is loaded again begins anew
    if (box.type !== 'range') box.checked = box.defaultChecked;
  });
  get('still').hidden = true;
  get('live').hidden = false;
  new ResizeObserver(() => show()).observe(get('live'));
  addEventListener('beforeprint', () => Object.keys(planes).forEach(draw));
  Object.keys(planes).forEach(draw);
  document.documentElement.dataset.ready = 'yes';
})();
