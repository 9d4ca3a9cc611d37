import { ScaleClient } from "@scale-fl/web";

window.predict = async (options, token, line) => {
  const client = await ScaleClient.create(options);
  await client.enroll(token);
  await client.refreshModel();
  const [prediction] = await client.predict([line]);
  await client.close();
  document.getElementById("said").textContent = prediction.top[0].label;
  return prediction.top[0].label;
};
