"""A real browser, cut off from every machine but this one."""

import json
import re
import shutil
import threading
import time

import pytest

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
CHROMEDRIVER = shutil.which('chromedriver')
FLAGS = (
    '--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic '
    '--no-first-run --disable-background-networking --disable-component-update --disable-sync'
).split()


class Server:
    """An application at a port of this machine, a free one by default, in a thread."""

    def __init__(self, app, port=0):
        uvicorn = pytest.importorskip('uvicorn')
        self._server = uvicorn.Server(
            uvicorn.Config(app, host='127.0.0.1', port=port, log_level='warning')
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_for(lambda: self._server.started)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f'http://127.0.0.1:{self.port}/'

    def stop(self):
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(30)


def wait_for(look, seconds=120):
    """What ``look`` gives as soon as it is true. What is not on the page yet raises."""
    from selenium.common.exceptions import WebDriverException

    end = time.monotonic() + seconds
    while True:
        try:
            if value := look():
                return value
        except WebDriverException:
            if time.monotonic() > end:
                raise
        assert time.monotonic() < end, 'it did not happen in time'
        time.sleep(0.1)


class Browser:
    """Chromium with the page open."""

    def __init__(self, url, downloads, size=(1400, 1100)):
        webdriver = pytest.importorskip('selenium.webdriver')
        if not (CHROMIUM and CHROMEDRIVER):
            pytest.skip('no chromium and chromedriver')
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (
            *FLAGS,
            # The network is cut: no name is found, and no other address than this machine's.
            '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
            f'--window-size={size[0]},{size[1]}',
        ):
            options.add_argument(flag)
        options.set_capability('goog:loggingPrefs', {'performance': 'ALL', 'browser': 'ALL'})
        options.add_experimental_option('prefs', {'download.default_directory': str(downloads)})
        self.downloads, self.size = downloads, size
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER))
        self.open(url)

    def open(self, url):
        self.driver.get(url)
        wait_for(lambda: self.find('#refine'))

    def find(self, css):
        return self.driver.find_element('css selector', css)

    def all(self, css):
        return self.driver.find_elements('css selector', css)

    def click(self, css, text=None):
        """Click the first element that ``css`` finds and that says ``text``."""

        def clicked():
            for element in self.all(css):
                if element.is_displayed() and (text is None or text in element.text):
                    self.driver.execute_script(
                        'arguments[0].scrollIntoView({block: "center"})', element
                    )
                    element.click()
                    return True
            return False

        wait_for(clicked)

    def write(self, css, text):
        """Write into the field ``css`` in place of what it holds, and leave it."""
        from selenium.webdriver.common.keys import Keys

        field = wait_for(lambda: self.find(css).is_displayed() and self.find(css))
        field.send_keys(Keys.CONTROL, 'a')
        field.send_keys(text, Keys.TAB)

    def upload(self, css, path, there):
        """Hand a file to the upload in ``css`` until it is ``there``: what is given while the page
        is drawn anew gets lost.
        """
        for _ in range(5):
            wait_for(lambda: self.find(f'{css} input[type=file]')).send_keys(str(path))
            try:
                return wait_for(there, 20)
            except AssertionError:
                continue
        raise AssertionError(f'{path} did not arrive')

    def text(self, css):
        return self.find(css).text

    def wait_for_text(self, css, text, seconds=120):
        return wait_for(lambda: text in self.text(css) and self.text(css), seconds)

    def refine(self, seconds=120):
        """Press the button, wait for the end, give what the page says."""
        before = self.text('#status')
        self.click('#refine')
        wait_for(
            lambda: (
                self.text('#status') != before
                and (self.all('#note .wrong') or re.search('Refined|stays', self.text('#status')))
                and self.text('#refine') == 'Refine'
            ),
            seconds,
        )
        return (self.text('#note') + self.text('#status')).strip()

    def download(self, kind):
        """The file behind a button."""
        known = set(self.downloads.glob('*.png'))
        self.click(f'#get-{kind}')
        return wait_for(lambda: set(self.downloads.glob('*.png')) - known).pop()

    def requests(self):
        """Addresses that were asked for since the last call."""
        found = set()
        for entry in self.driver.get_log('performance'):
            message = json.loads(entry['message'])['message']
            if message['method'] == 'Network.requestWillBeSent':
                found.add(message['params']['request']['url'])
        return found

    def picture(self, path):
        """The whole page as a picture."""
        height = self.driver.execute_script('return document.documentElement.scrollHeight')
        self.driver.set_window_size(self.size[0], min(height + 150, 4000))
        self.driver.execute_script('window.scrollTo(0, 0)')
        time.sleep(1)  # until it is drawn
        self.driver.save_screenshot(str(path))
        self.driver.set_window_size(*self.size)

    def close(self):
        self.driver.quit()
