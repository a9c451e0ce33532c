(async () => {
  'use strict';
  const {MULTIPLANAR_TYPE, Niivue, NVImage, SHOW_RENDER, SLICE_TYPE} = niivue;
  const get = (id) => document.getElementById(id);
  const data = JSON.parse(get('data').textContent);
  const nv = new Niivue({
    isRadiologicalConvention: true, sagittalNoseLeft: true, dragAndDropEnabled: false, isOrientCube: true,
    multiplanarShowRender: SHOW_RENDER.ALWAYS, multiplanarLayout: MULTIPLANAR_TYPE.GRID, crosshairColor: [0.5, 0.82, 1, 0.6], crosshairWidth: 0.5, logLevel: 'error',
  });
  await nv.attachToCanvas(get('gl'));
  nv.addVolume(await NVImage.loadFromBase64({base64: data.ct, name: 'ct.nii.gz', colormap: 'gray', cal_min: data.window[0], cal_max: data.window[1]}));
  const label = await NVImage.loadFromBase64({base64: data.label, name: 'label.nii.gz', opacity: 0.5});
  label.setColormapLabel(data.colours);
  nv.addVolume(label);
  nv.setSliceType(SLICE_TYPE.MULTIPLANAR);
  nv.scene.crosshairPos = nv.mm2frac(data.at);
  const ct = nv.volumes[0];
  const redraw = () => { nv.updateGLVolume(); nv.drawScene(); };
  document.querySelectorAll('[data-window]').forEach((button) => button.addEventListener('click', () => {
    [ct.cal_min, ct.cal_max] = button.dataset.window.split(' ').map(Number);
    redraw();
  }));
  document.querySelectorAll('[data-view]').forEach((button) => button.addEventListener('click', () => {
    nv.setSliceType(button.dataset.view === 'render' ? SLICE_TYPE.RENDER : SLICE_TYPE.MULTIPLANAR);
  }));
  get('opacity').addEventListener('input', (e) => nv.setOpacity(1, +e.target.value));
  get('clip').addEventListener('input', (e) => nv.setClipPlane([e.target.value > 0 ? 0.5 - e.target.value : 2, 180, 0]));
  redraw();
  document.documentElement.dataset.ready = 'yes';
})().catch((error) => {
  document.getElementById('box').insertAdjacentText('afterend', 'This browser cannot draw in 3D (WebGL 2): ' + error.message);
  document.documentElement.dataset.ready = 'no';
});
