/** What the server says about itself: `GET /v1/server`. An older server lacks it or parts of it. */

export interface ServerInfo {
  version?: string;
  launcher?: string;
  private?: boolean;
  user_id?: string;
  role?: string;
  default_image?: string;
  default_command?: string[];
  datasets?: string[];
  jupyter_images?: string[];
}
